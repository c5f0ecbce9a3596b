# Commands of a Debian. Each is run in two equal laps, of which the second counts.

gzip_() { gzip -n -6 <numbers >out && gzip -d <out | cmp - numbers; }

sha256sum_() { for i in 1 2 3 4 5 6; do sha256sum numbers; done >out; }

openssl_() {
    openssl enc -aes-128-cbc -K 000102030405060708090a0b0c0d0e0f -iv 00 -in numbers 2>/dev/null |
        openssl dgst -sha512 >out
    openssl prime -hex FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A63A3620FFFFFFFFFFFFFFFF >>out
}

python3_() {
    python3 - >out <<'END'
def primes(limit):
    sieve = bytearray([1]) * limit
    for i in range(2, int(limit**0.5) + 1):
        if sieve[i]:
            sieve[i * i :: i] = bytes(len(range(i * i, limit, i)))
    return [i for i in range(2, limit) if sieve[i]]

class Counter:
    def __init__(self):
        self.seen = {}
    def add(self, word):
        self.seen[word] = self.seen.get(word, 0) + 1

counter = Counter()
for prime in primes(60000):
    for digit in str(prime * prime):
        counter.add(digit)
print(sorted(counter.seen.items()))
print(sum(i * 0.5 for i in range(100000)))
END
}

cd /tmp || exit 1
seq 300000 >numbers
for name in gzip sha256sum openssl python3; do
    for lap in 0 1; do
        begin=$(date +%s%N)
        "${name}_"
        end=$(date +%s%N)
        result=$(sha256sum <out)
        echo "BENCH $name lap=$lap result=${result%% *} ticks=$(((end - begin) / 100))"
    done
done
