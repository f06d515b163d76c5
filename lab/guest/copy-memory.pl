#!/usr/bin/perl
# copy-memory PID FILE: all that a process has in memory of its own (writable mappings), without what is only zeros.
# Only pages that are there are read (proc_pid_pagemap(5)): a read of one that was never touched makes it, each is a mapping of its
# own to User-Mode Linux, and of those a process of the machine below has 65,530 (vm.max_map_count) before its guest hangs.
use strict;
use warnings;

my ( $pid, $target ) = @ARGV;
open( my $maps,   "<",     "/proc/$pid/maps" )    or die "cannot read the maps of $pid: $!\n";
open( my $memory, "<:raw", "/proc/$pid/mem" )     or die "cannot read the memory of $pid: $!\n";
open( my $pages,  "<:raw", "/proc/$pid/pagemap" ) or die "cannot read the page map of $pid: $!\n";
open( my $out,    ">:raw", $target )              or die "cannot write $target: $!\n";
my $page  = 4096;
my $zeros = "\0" x $page;

sub copy {
    my ($at) = @_;
    sysseek( $memory, $at, 0 ) or return;
    my $got = sysread( $memory, my $bytes, $page );
    return if !$got || $bytes eq $zeros;
    syswrite( $out, $bytes ) == $got or die "cannot write $target: $!\n";
}

while ( my $line = <$maps> ) {
    my ( $from, $to ) = $line =~ /^([0-9a-f]+)-([0-9a-f]+) rw/ or next;
    no warnings "portable";
    ( $from, $to ) = ( hex $from, hex $to );
    for ( my $at = $from ; $at < $to ; $at += 512 * $page ) {
        my $count = ( $to - $at ) / $page;
        $count = 512 if $count > 512;
        sysseek( $pages, $at / $page * 8, 0 ) or next;
        sysread( $pages, my $entries, $count * 8 ) or next;
        my @entries = unpack( "Q<*", $entries );
        # bit 63: in memory; bit 62: swapped out
        for my $index ( 0 .. $#entries ) { copy( $at + $index * $page ) if $entries[$index] >> 62 }
    }
}
