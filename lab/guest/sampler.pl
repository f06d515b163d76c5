#!/usr/bin/perl
# Notes every command line and environment that any process of this host is seen with, each once, until it is ended.
use strict;
use warnings;
use Time::HiRes qw(sleep);

open( my $out, ">>", "/lab/process-samples" ) or die "cannot open the samples: $!\n";
$| = 1;
my %seen;
while (1) {
    for my $directory ( glob("/proc/[0-9]*") ) {
        for my $name ( "cmdline", "environ" ) {
            open( my $file, "<", "$directory/$name" ) or next;
            local $/ = undef;
            my $text = <$file>;
            next if !defined $text || $text eq "" || $seen{$text}++;
            syswrite( $out, "$name $text\n" );
        }
    }
    sleep(0.1);
}
