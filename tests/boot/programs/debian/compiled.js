// Work for V8's compilers, here and in workers: what it prints is always the same.
"use strict";
const crypto = require("node:crypto");
const vm = require("node:vm");
const zlib = require("node:zlib");
const { isMainThread, parentPort, Worker, workerData } = require("node:worker_threads");

const WORKERS = 4;
const bits = new DataView(new ArrayBuffer(8));

function mixed(hash, x) {
    bits.setFloat64(0, x);
    return (Math.imul(hash, 31) + bits.getInt32(0) ^ bits.getInt32(4)) | 0;
}

const tasks = {
    integers() {
        let h = 17;
        for (let i = 1; i < 8e5; i++) {
            h = (Math.imul(h, 31) + (h >>> 7)) ^ ((i << (h & 31)) | (i >>> (32 - (h & 31))));
            h = (h + (i % (1 + (h & 1023))) - ((h / i) | 0) + Math.clz32(h)) | 0;
        }
        return h;
    },
    overflows() { // integers that become doubles, objects that lose their shape
        let total = 0;
        for (let round = 0; round < 12; round++) {
            let n = 1;
            const things = { a: 1 };
            for (let i = 0; i < 3000; i++) {
                n = n * 3 + i;
                if (n > 2 ** 52) n = n % 65521;
                if (i === 2500) things["b" + round] = n;
                if (i % 997 === 0) things.a = i & 1 ? things.a + 0.5 : String(things.a).length;
            }
            total += n + things.a;
        }
        return total;
    },
    floats() {
        let sum = 0, h = 0;
        for (let i = 1; i < 5e5; i++) {
            const x = i * 0.004 - 700;
            sum += (x * x) / (1 + Math.abs(x)) - Math.sqrt(i) + Math.floor(x) - Math.ceil(x) + Math.round(x);
            sum += Math.min(x, -0) + Math.max(x, 0) + (x % 7.25) + Math.fround(sum) + Math.trunc(x);
            h = mixed(h, sum);
        }
        return h;
    },
    conversions() {
        const edges = [0, -0, NaN, 1e300, -1e300, 2147483647.5, -2147483648.5, 9.3e18, -9.3e18,
            5e-324, Infinity, 0.49999999999999994, 4294967296.5];
        const bytes = new Uint8Array(1), clamped = new Uint8ClampedArray(1), shorts = new Int16Array(1);
        const words = new Uint32Array(1), singles = new Float32Array(1);
        let h = 0;
        for (let i = 0; i < 150000; i++) {
            const x = edges[i % edges.length] * (1 + i * 1e-7);
            bytes[0] = clamped[0] = shorts[0] = words[0] = singles[0] = x;
            clamped[0] = x / 3;
            h = (Math.imul(h, 31) + bytes[0] + clamped[0] + shorts[0] + words[0] + ~~x + (x >>> 0)) | 0;
            h = mixed(h, singles[0]);
        }
        return h;
    },
    functions() {
        let h = 0;
        for (let i = 1; i < 60000; i++) {
            const x = i * 0.0432 - 800;
            h = mixed(h, Math.sin(x) + Math.cos(x) + Math.tan(x) + Math.atan2(x, i));
            h = mixed(h, Math.exp(x / 9) + Math.log(i) + Math.log1p(i) + Math.cbrt(x) + Math.pow(i, 0.37));
        }
        return h;
    },
    arrays() {
        const n = 160, a = new Float64Array(n * n), b = new Float64Array(n * n), c = new Float64Array(n * n);
        for (let i = 0; i < n * n; i++) { a[i] = 1 / (i + 1); b[i] = (i % n) - i / 3; }
        for (let round = 0; round < 4; round++)
            for (let i = 0; i < n; i++)
                for (let k = 0; k < n; k++)
                    for (let j = 0; j < n; j++) c[i * n + j] += a[i * n + k] * b[k * n + j];
        const sieve = new Uint8Array(5e5);
        let primes = 0;
        for (let i = 2; i < sieve.length; i++) {
            if (sieve[i]) continue;
            primes++;
            for (let j = i * 2; j < sieve.length; j += i) sieve[j] = 1;
        }
        return `${c.reduce((x, y) => x + y)} ${primes}`;
    },
    objects() {
        class Shape { area() { return 0; } }
        class Circle extends Shape { constructor(r) { super(); this.r = r; } area() { return Math.PI * this.r ** 2; } }
        class Square extends Shape { #side; constructor(s) { super(); this.#side = s; } area() { return this.#side ** 2; } }
        class Odd { constructor(i) { this["k" + (i % 9)] = i; this.area = () => i; } }
        const shapes = Array.from({ length: 999 }, (_, i) => [Circle, Square, Odd][(i * i) % 3] ).map((C, i) => new C(i));
        let total = 0;
        for (let round = 0; round < 250; round++) for (const each of shapes) total += each.area();
        return total;
    },
    closures() {
        function* counted(n) { for (let i = 0; i < n; i++) yield i * i; }
        let total = 0;
        for (let round = 0; round < 40; round++) {
            for (const x of counted(3000)) total = (total + x) % 1000003;
            const [first, ...rest] = [...counted(50)];
            total += rest.filter((x) => x % 3).map((x) => x + first).reduce((x, y) => x + y, 0);
        }
        return total;
    },
    exceptions() {
        let h = 0;
        for (let i = 0; i < 30000; i++) {
            try {
                if (i % 3 === 0) throw new RangeError(i);
                if (i % 7 === 0) null.field;
                h = (h + i) | 0;
            } catch (error) {
                h = (Math.imul(h, 7) + error.message.length) | 0;
            } finally { h ^= 1; }
        }
        const deep = (n) => { try { return deep(n + 1); } catch { return "deep"; } };
        return `${h} ${deep(0)}`;
    },
    text() {
        let text = "";
        for (let i = 0; i < 12000; i++) text += ((i * 7919) % 1009) + (i % 50 ? "," : "\u00e9\u4e16,");
        const matches = text.match(/(\d)\1,(?=[1-5]+)/g).length;
        const named = text.replace(/(?<a>\d+),(?<b>\d+)/g, "$<b>;$<a>").replaceAll("13", "thirteen");
        const sticky = /(?:[0-4]+|[5-9]+|,|[^\x00-\x7f]+)/gy;
        let tokens = 0;
        while (sticky.exec(text)) tokens++;
        const unicode = text.normalize("NFD").split(/\p{Script=Han}/u).length;
        return `${matches} ${crypto.createHash("sha256").update(named).digest("hex")} ${tokens} ${unicode}`;
    },
    json() {
        const data = Array.from({ length: 1000 }, (_, i) => ({ id: i, x: Math.sqrt(i), name: `n${i}\u00fc"`, list: [i, [i / 7], null, true] }));
        let text = "";
        for (let round = 0; round < 6; round++) text = JSON.stringify(JSON.parse(JSON.stringify(data)));
        return `${text.length} ${crypto.createHash("sha1").update(text).digest("hex")}`;
    },
    numbers() {
        let h = 0;
        for (let i = 0; i < 25000; i++) {
            const x = (i + 0.1) * 1.1 ** (i % 600 - 300);
            if (Number(String(x)) !== x) return `${x} is not itself`;
            h = (h + x.toFixed(3).length + x.toPrecision(7).length + (i * 31).toString(36).length) | 0;
        }
        return h;
    },
    bigints() {
        let product = 1n;
        for (let i = 2n; i < 1200n; i++) product *= i;
        const prime = (1n << 521n) - 1n;
        return `${product % prime} ${BigInt.asUintN(64, product / (1n << 1200n))} ${String(product).length}`;
    },
    collections() {
        const map = new Map(), set = new Set(), weak = new WeakMap();
        for (let i = 0; i < 60000; i++) {
            const key = i % 3 ? `k${i % 5003}` : i % 4001;
            map.set(key, (map.get(key) ?? 0) + i);
            if (i % 5 === 0) set.delete(key); else set.add(key);
            weak.set({}, i);
        }
        const sorted = [...map.values()].sort((a, b) => a - b);
        return `${map.size} ${set.size} ${sorted[1234]}`;
    },
    sources() { // many functions, compiled, used and thrown away
        let total = 0;
        for (let i = 0; i < 80; i++) {
            const f = new Function("n", `let s = ${i}; for (let j = 0; j < n; j++) s = (s * ${i + 3} + j) % 65521; return s;`);
            total += f(2000) + vm.runInNewContext(`[${i}, 2].map((x) => x * 2)[0]`);
        }
        return total;
    },
    assembly() { // WebAssembly: (func (param i32) (result i64)), a loop of products and rotations
        const code = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, 1, 6, 1, 96, 1, 127, 1, 126, 3, 2, 1, 0,
            7, 5, 1, 1, 102, 0, 0, 10, 38, 1, 36, 1, 1, 126, 66, 17, 33, 1, 3, 64, 32, 1, 66, 31, 126,
            32, 0, 173, 124, 66, 13, 137, 33, 1, 32, 0, 65, 1, 107, 34, 0, 13, 0, 11, 32, 1, 11]);
        const { exports } = new WebAssembly.Instance(new WebAssembly.Module(code));
        let h = 0n;
        for (let i = 1; i < 200; i++) h ^= exports.f(i * 101);
        return h;
    },
    ciphers() {
        const data = Buffer.alloc(1 << 18, "to be hidden ");
        const cipher = crypto.createCipheriv("aes-256-gcm", data.subarray(0, 32), data.subarray(0, 12));
        const hidden = Buffer.concat([cipher.update(data), cipher.final(), cipher.getAuthTag()]);
        const key = crypto.scryptSync("password", "salt", 32, { N: 1024 });
        const digests = ["md5", "sha256", "sha512", "sha3-256", "blake2b512"].map((name) =>
            crypto.createHash(name).update(hidden).digest("hex").slice(0, 12));
        const { privateKey, publicKey } = crypto.generateKeyPairSync("ed25519");
        const right = crypto.verify(null, data, publicKey, crypto.sign(null, data, privateKey));
        return `${digests.join(" ")} ${key.toString("hex")} ${right}`;
    },
    compression() {
        const data = Buffer.from(JSON.stringify(Array.from({ length: 40000 }, (_, i) => (i * i) % 1013)));
        const packed = [zlib.deflateSync(data), zlib.brotliCompressSync(data, { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 5 } })];
        const back = zlib.inflateSync(packed[0]).equals(data) && zlib.brotliDecompressSync(packed[1]).equals(data);
        return `${packed.map((each) => each.length)} ${back}`;
    },
    garbage() {
        const kept = new Array(5000).fill(null);
        let h = 0;
        for (let i = 0; i < 6e5; i++) {
            const made = { i, next: kept[i % 5000] };
            if (i % 5 === 0) kept[(i * 17) % 5000] = { i, next: null };
            if (made.next) h = (Math.imul(h, 31) + made.next.i) | 0;
        }
        return h;
    },
};

async function shared() { // what workers count together, and each one's own work
    const memory = new SharedArrayBuffer(64), counts = new Int32Array(memory);
    const ended = Array.from({ length: WORKERS }, (_, number) => new Promise((resolve, reject) => {
        const worker = new Worker(__filename, { workerData: { memory, number } });
        worker.once("message", resolve);
        worker.once("error", reject);
    }));
    const told = await Promise.all(ended);
    return `${counts.slice(0, 3)} ${told.join(" ")}`;
}

function work({ memory, number }) {
    const counts = new Int32Array(memory);
    Atomics.add(counts, 3, 1);
    Atomics.notify(counts, 3);
    for (let there; (there = Atomics.load(counts, 3)) < WORKERS;) Atomics.wait(counts, 3, there);
    for (let i = 0; i < 30000; i++) {
        Atomics.add(counts, 0, i & 3);
        Atomics.xor(counts, 1, i * (number + 1));
        for (let old; (old = Atomics.load(counts, 2)), Atomics.compareExchange(counts, 2, old, old + 1) !== old;);
    }
    const names = ["integers", "objects", "json", "sources"];
    return tasks[names[number % names.length]]() + " " + tasks.text();
}

async function main() {
    for (const [name, task] of Object.entries(tasks)) console.log(name, String(task()));
    console.log("workers", await shared());
    const later = await Promise.all(Array.from({ length: 1000 }, async (_, i) => {
        if (i % 3) await null; else await new Promise(setImmediate);
        return i;
    }));
    console.log("promises", later.reduce((a, b) => a + b));
}

if (isMainThread) main();
else parentPort.postMessage(work(workerData));
