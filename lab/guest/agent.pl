#!/usr/bin/perl
# The lab's way into a host, on a serial line of its own, so that it works with the network down and the product dead.
# A request is a line "<number> <hex of a shell script>"; the answer is "<number> <exit code> <hex stdout> <hex stderr>".
# Requests run side by side, each in a process of its own.
use strict;
use warnings;
use Fcntl qw(:flock);

my ( $control, $journal ) = ( "/dev/ttyS0", "/dev/ttyS1" );
system("stty raw -echo <$control; stty raw -echo <$journal") == 0 or die "cannot set up the serial lines\n";
open( my $line, "+<", $control ) or die "cannot open $control: $!\n";
# held open so that the line keeps its settings between two writers
open( my $keep, ">", $journal ) or die "cannot open $journal: $!\n";
open( my $lock, ">", "/run/lab-agent.lock" ) or die "cannot open the lock: $!\n";
close($lock);
$SIG{CHLD} = "IGNORE";

sub answer {
    my ($text) = @_;
    open( my $held, ">", "/run/lab-agent.lock" ) or die;
    flock( $held, LOCK_EX );
    while ( length $text ) {
        my $written = syswrite( $line, $text );
        last unless defined $written;
        substr( $text, 0, $written ) = "";
    }
    close($held);
}

sub slurp {
    my ($handle) = @_;
    local $/ = undef;
    seek( $handle, 0, 0 );
    my $text = <$handle>;
    return unpack( "H*", defined $text ? $text : "" );
}

sub run {
    my ( $number, $script ) = @_;
    $SIG{CHLD} = "DEFAULT";
    my $base = "/run/lab-agent.$number.$$";
    open( my $out, "+>", "$base.out" ) or die;
    open( my $err, "+>", "$base.err" ) or die;
    unlink( "$base.out", "$base.err" );
    my $child = fork();
    die "cannot fork: $!\n" unless defined $child;
    if ( $child == 0 ) {
        open( STDIN,  "<",  "/dev/null" );
        open( STDOUT, ">&", $out );
        open( STDERR, ">&", $err );
        setpgrp( 0, 0 );
        exec( "/bin/sh", "-c", pack( "H*", $script ) );
    }
    waitpid( $child, 0 );
    my $code = $? & 127 ? 128 + ( $? & 127 ) : $? >> 8;
    answer( "$number $code x" . slurp($out) . " x" . slurp($err) . "\n" );
}

answer("ready\n");
my $buffer = "";
while (1) {
    my $got = sysread( $line, $buffer, 65536, length $buffer );
    next unless defined $got and $got > 0;
    while ( $buffer =~ s/^([^\n]*)\n// ) {
        my ( $number, $script ) = split( / /, $1 );
        next unless defined $script;
        my $pid = fork();
        next if $pid;
        run( $number, $script );
        exit 0;
    }
}
