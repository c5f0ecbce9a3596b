# Each digest, cipher and key of OpenSSL, used on the same data; then its benchmark, which must end.
set -eu
cd "$(mktemp -d)"
seq 40000 >data
key=000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f
iv=0f0e0d0c0b0a09080706050403020100

openssl version
for each in $(openssl list -1 -digest-commands); do
    echo "$each $(openssl dgst "-$each" <data 2>&1 | tail -n 1)"
done
for each in SHA256 SHA512 SHA3-256 MD5; do
    echo "HMAC $each $(openssl mac -digest "$each" -macopt hexkey:$key -in data HMAC)"
done
echo "Poly1305 $(openssl mac -macopt hexkey:$key -in data Poly1305)"
echo "CMAC $(openssl mac -cipher aes-256-cbc -macopt hexkey:$key -in data CMAC)"
echo "GMAC $(openssl mac -cipher aes-256-gcm -macopt hexkey:$key \
    -macopt hexiv:0f0e0d0c0b0a090807060504 -in data GMAC)"

for each in $(openssl list -1 -cipher-commands); do
    case $each in base64 | zlib | zstd | brotli) continue ;; esac
    openssl enc "-$each" -K $key -iv $iv -in data -out hidden 2>complaints || {
        echo "$each is not there"
        continue
    }
    openssl enc -d "-$each" -K $key -iv $iv -in hidden -out shown 2>complaints
    cmp data shown
    echo "$each $(openssl dgst -sha256 -r <hidden)"
done

for each in "EC -pkeyopt ec_paramgen_curve:P-256" "EC -pkeyopt ec_paramgen_curve:P-521" \
    "RSA -pkeyopt rsa_keygen_bits:2048" ED25519 ED448 ML-DSA-65; do
    # shellcheck disable=SC2086
    openssl genpkey -quiet -algorithm $each -out private
    openssl pkey -in private -pubout -out public
    openssl pkeyutl -sign -inkey private -rawin -in data -out signature
    echo "$each: $(openssl pkeyutl -verify -pubin -inkey public -rawin -in data -sigfile signature)"
    echo other >other
    openssl pkeyutl -verify -pubin -inkey public -rawin -in other -sigfile signature 2>complaints || true
done
for each in X25519 X448 "EC -pkeyopt ec_paramgen_curve:P-384"; do
    for who in one two; do
        # shellcheck disable=SC2086
        openssl genpkey -quiet -algorithm $each -out $who
        openssl pkey -in $who -pubout -out $who.public
    done
    openssl pkeyutl -derive -inkey one -peerkey two.public -out agreed.one
    openssl pkeyutl -derive -inkey two -peerkey one.public -out agreed.two
    cmp agreed.one agreed.two
    echo "$each: agreed"
done
openssl kdf -keylen 32 -kdfopt digest:SHA256 -kdfopt pass:word -kdfopt salt:salt \
    -kdfopt iter:2000 PBKDF2
openssl kdf -keylen 32 -kdfopt pass:word -kdfopt salt:saltsalt -kdfopt n:1024 -kdfopt r:8 \
    -kdfopt p:1 SCRYPT
openssl prime -checks 8 170141183460469231731687303715884105727

for each in "-bytes 4096 -evp aes-128-gcm" "-bytes 4096 -multi 4 sha256" "rsa2048" "ecdhx25519"; do
    # shellcheck disable=SC2086
    openssl speed -mr -seconds 1 $each >told 2>complaints
    echo "speed $each: $(grep -c '^+F' told)"
done
