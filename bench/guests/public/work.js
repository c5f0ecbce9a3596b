// Objects, strings, JSON, typed arrays and closures, in one thread or in workers that share it.
const { Worker, isMainThread, parentPort, workerData } = require("node:worker_threads");

class Point {
  constructor(x, y) { this.x = x; this.y = y; }
  plus(other) { return new Point(this.x + other.x, this.y + other.y); }
  get length() { return Math.hypot(this.x, this.y); }
}

function words(count) {
  const seen = new Map();
  let seed = 42;
  for (let i = 0; i < count; i++) {
    seed = (seed * 16807) % 2147483647;
    const word = `w${seed % 900}`;
    seen.set(word, (seen.get(word) ?? 0) + 1);
  }
  return [...seen].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, 3).join(" ");
}

function sieve(limit) {
  const marked = new Uint8Array(limit);
  let count = 0;
  for (let i = 2; i < limit; i++) {
    if (marked[i]) continue;
    count++;
    for (let j = i * i; j < limit; j += i) marked[j] = 1;
  }
  return count;
}

function records(count) {
  const rows = Array.from({ length: count }, (_, i) => ({ id: i, name: `n${i % 31}`, tags: [i & 7, "a"] }));
  return JSON.parse(JSON.stringify(rows)).filter((row) => /^n[12]/.test(row.name)).reduce((a, row) => a + row.id + row.tags[0], 0);
}

function walk(count) {
  let at = new Point(0, 0);
  for (let i = 0; i < count; i++) at = at.plus(new Point(i % 3, -(i % 5)));
  return at.length.toFixed(6);
}

const work = () => [words(10000), sieve(60000), records(1000), walk(20000)].join(" ");

const rounds = Number(process.argv[2]);
const threads = Number(process.argv[3]);
if (!isMainThread) {
  for (let i = 0; i < workerData; i++) parentPort.postMessage(work());
} else if (threads === 1) {
  for (let i = 0; i < rounds; i++) console.log(work());
} else {
  for (let i = 0; i < threads; i++) {
    new Worker(__filename, { workerData: rounds, argv: process.argv.slice(2) }).on("message", (line) => console.log(line));
  }
}
