# Words and lines of a text, by regular expressions and hashes.
use strict;
use warnings;

my (%seen, %pairs, $last, $numbers);
while (my $line = <STDIN>) {
    $numbers += $1 while $line =~ /\b(\d{1,6})\b/g;
    $line =~ s/([a-z])([A-Z])/$1_\l$2/g;
    for my $word ($line =~ /[A-Za-z_]{3,}/g) {
        $seen{lc $word}++;
        $pairs{"$last $word"}++ if defined $last;
        $last = $word;
    }
}
my @words = sort { $seen{$b} <=> $seen{$a} || $a cmp $b } keys %seen;
print "$_ $seen{$_}\n" for @words[0 .. 49];
printf "%d words, %d pairs, %d\n", scalar(@words), scalar(keys %pairs), $numbers;
