#!/usr/bin/perl
# copy-memory PID FILE: all that a process has in memory of its own (writable mappings), without what is only zeros.
use strict;
use warnings;

my ( $pid, $target ) = @ARGV;
open( my $maps,   "<",    "/proc/$pid/maps" ) or die "cannot read the maps of $pid: $!\n";
open( my $memory, "<:raw", "/proc/$pid/mem" )  or die "cannot read the memory of $pid: $!\n";
open( my $out,    ">:raw", $target )           or die "cannot write $target: $!\n";
my $block = 1 << 20;
my $zeros = "\0" x $block;
while ( my $line = <$maps> ) {
    my ( $from, $to ) = $line =~ /^([0-9a-f]+)-([0-9a-f]+) rw/ or next;
    no warnings "portable";
    ( $from, $to ) = ( hex $from, hex $to );
    for ( my $at = $from ; $at < $to ; $at += $block ) {
        my $want = $to - $at < $block ? $to - $at : $block;
        sysseek( $memory, $at, 0 ) or next;
        my $got = sysread( $memory, my $bytes, $want );
        next if !$got || $bytes eq substr( $zeros, 0, $got );
        syswrite( $out, $bytes ) == $got or die "cannot write $target: $!\n";
    }
}
