<?php
// A sieve, sorted strings, and the Mandelbrot set in one row.
function sieve(int $limit): int {
    $marked = array_fill(0, $limit, true);
    $count = 0;
    for ($i = 2; $i < $limit; $i++) {
        if (!$marked[$i]) continue;
        $count++;
        for ($j = $i * $i; $j < $limit; $j += $i) $marked[$j] = false;
    }
    return $count;
}

function words(int $count): string {
    $seen = [];
    for ($i = 0; $i < $count; $i++) {
        $word = substr(md5((string) ($i % 5000)), 0, 3);
        $seen[$word] = ($seen[$word] ?? 0) + 1;
    }
    ksort($seen);
    return sha1(json_encode($seen));
}

function mandelbrot(int $width): int {
    $inside = 0;
    for ($x = 0; $x < $width; $x++) {
        $cr = 3.0 * $x / $width - 2.0;
        $zr = $zi = 0.0;
        for ($i = 0; $i < 100 && $zr * $zr + $zi * $zi < 4.0; $i++) {
            [$zr, $zi] = [$zr * $zr - $zi * $zi + $cr, 2.0 * $zr * $zi + 0.01];
        }
        $inside += $i;
    }
    return $inside;
}

for ($round = 0; $round < (int) $argv[1]; $round++) {
    echo sieve(200000), " ", words(20000), " ", mandelbrot(3000), "\n";
}
