# Programs of other people: inputs that several have in common, and how each is timed. Behind this
# stand the functions prepare_NAME and run_NAME of the programs, and the names that are wanted.

text() { head -c $(($1 * N << 10)) /corpus/text >text; } # KiB in the short form
picture() { djpeg /usr/share/matplotlib/mpl-data/sample_data/grace_hopper.jpg >picture.ppm; }
repeat() { for i in $(seq "$1"); do cat "$2"; done; }
scaled() { sed "s/:N/$N/g" "$1" >"${1##*/}"; }
stb() { printf '#define %s_IMPLEMENTATION\n#include <stb/%s>\n' "$1" "$2"; }
stress() { stress-ng --quiet --seed 1 --oom-avoid "$@" && echo "$@"; }

word() { printf "$(printf '\\x%02x' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24)))"; }

sound() { # seconds of speech in the short form: 48,000 samples of 16 bits in each
    size=$(($1 * N * 96000))
    {
        printf RIFF && word $((size + 36)) && printf 'WAVEfmt ' && word 16
        word $((1 << 16 | 1)) && word 48000 && word 96000 && word $((16 << 16 | 2))
        printf data && word $size
        repeat $((N * $1 / 11 + 1)) /corpus/sound | head -c $size
    } >sound.wav
}

pigeons() { # one more of them than holes: there is no solution
    mawk -v n="$1" 'BEGIN {
        print "p cnf", n * (n + 1), n + 1 + n * n * (n + 1) / 2
        for (p = 0; p <= n; p++) { for (h = 1; h <= n; h++) printf "%d ", p * n + h; print 0 }
        for (h = 1; h <= n; h++) for (p = 0; p <= n; p++) for (q = 0; q < p; q++) print -(p * n + h), -(q * n + h), 0
    }'
}

cluster() { # of PostgreSQL, which refuses to be run by root
    programs=$(echo /usr/lib/postgresql/*/bin)
    chown bench .
    as_user="setpriv --reuid bench --regid bench --clear-groups"
    $as_user "$programs/initdb" -D data --no-sync --no-locale -A trust >/dev/null
    echo 'CREATE DATABASE bench' | $as_user "$programs/postgres" --single -D data postgres >/dev/null
    SINGLE="$as_user $programs/postgres --single -F"
}

bench() {
    rm -rf /tmp/work && mkdir /tmp/work && cd /tmp/work || exit 1
    echo "PREPARE $1"
    "prepare_$1" 2>/tmp/errors
    sync
    begin=${EPOCHREALTIME/./}
    "run_$1" >/tmp/out 2>>/tmp/errors
    code=$?
    end=${EPOCHREALTIME/./}
    result=$(sha256sum </tmp/out)
    [ $code = 0 ] && [ -s /tmp/out ] || { result=failed; tail -n 5 /tmp/errors /tmp/out; }
    echo "BENCH $1 lap=0 result=${result::12} ticks=$(((end - begin) * 10))"
}

export PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/games HOME=/tmp TMPDIR=/tmp LC_ALL=C
CPUS=$(nproc)
JAVA=$(echo /usr/lib/jvm/java-21-openjdk-*/bin)
set -o pipefail
