import java.math.BigInteger;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.IntBinaryOperator;
import java.util.stream.IntStream;
import java.util.zip.CRC32;
import java.util.zip.Deflater;
import java.util.zip.Inflater;

/** Work for all of the virtual machine's compilers, on four threads: what it prints is always the same. */
public class Compiled {
    static final int THREADS = 4;

    interface Task {
        Object run() throws Exception;
    }

    interface Shape {
        double area();
    }

    record Circle(double radius) implements Shape {
        public double area() {
            return Math.PI * radius * radius;
        }
    }

    record Square(double side) implements Shape {
        public double area() {
            return side * side;
        }
    }

    record Triangle(double a, double b, double c) implements Shape {
        public double area() {
            double s = (a + b + c) / 2;
            return StrictMath.sqrt(Math.abs(s * (s - a) * (s - b) * (s - c)));
        }
    }

    public static void main(String[] words) throws Exception {
        tell("integers", Compiled::integers);
        tell("longs", Compiled::longs);
        tell("floats", Compiled::floats);
        tell("conversions", Compiled::conversions);
        tell("functions", Compiled::functions);
        tell("matrices", Compiled::matrices);
        tell("vectors", Compiled::vectors);
        tell("strings", Compiled::strings);
        tell("classes", Compiled::classes);
        tell("exceptions", Compiled::exceptions);
        tell("maps", Compiled::maps);
        tell("big numbers", Compiled::bigNumbers);
        tell("digests", Compiled::digests);
        tell("compression", Compiled::compression);
        tell("sorting", Compiled::sorting);
        tell("streams", Compiled::streams);
        tell("threads", Compiled::threads);
        tell("locks", Compiled::locks);
        tell("virtual threads", Compiled::virtualThreads);
        tell("garbage", Compiled::garbage);
    }

    static void tell(String name, Task task) throws Exception {
        System.out.println(name + " " + task.run());
    }

    static Object integers() {
        int h = 17;
        for (int i = 1; i < 1_000_000; i++) {
            h = h * 31 + (h >>> 7) ^ Integer.rotateLeft(i, h & 31);
            h += i % (1 + (h & 1023)) - h / i;
            h ^= Integer.bitCount(h) + Integer.numberOfTrailingZeros(i) + Integer.reverse(i);
        }
        return h;
    }

    static Object longs() {
        long h = 99;
        for (long i = 1; i < 600_000; i++) {
            h = h * 6364136223846793005L + Long.rotateRight(h, (int) i);
            h ^= Math.multiplyHigh(h, i) + Long.numberOfLeadingZeros(h) + Long.reverseBytes(i);
            h += h / (i | 3) + Long.compareUnsigned(h, i) + Long.remainderUnsigned(h, i + 12345);
        }
        return Long.toHexString(h);
    }

    static Object floats() {
        double sum = 0;
        float small = 0;
        long bits = 0;
        for (int i = 1; i < 600_000; i++) {
            double x = i * 0.0033 - 700;
            sum += x * x / (1 + Math.abs(x)) - Math.sqrt(i) + Math.fma(x, x, -sum * 1e-9);
            small = small * 0.999f + (float) x / i;
            bits = bits * 31 + Double.doubleToRawLongBits(sum) + Float.floatToRawIntBits(small);
            sum += Math.min(x, -0.0) + Math.max(x, 0.0) + Math.rint(x) + Math.floor(x) - Math.ceil(x);
        }
        return Long.toHexString(bits);
    }

    static Object conversions() {
        long h = 0;
        double[] edges = {0, -0.0, Double.NaN, 1e300, -1e300, 2147483647.5, -2147483648.5, 9.3e18,
            -9.3e18, Double.MIN_VALUE, Double.POSITIVE_INFINITY, 0.49999999999999994};
        for (int i = 0; i < 150_000; i++) {
            double x = edges[i % edges.length] * (1 + i * 1e-7);
            h = h * 31 + (int) x + (long) x + (char) x + (byte) x + Math.round(x);
            h = h * 31 + Float.floatToIntBits((float) x) + (int) (float) x;
            h = h * 31 + Double.compare(x, i) + (x < i ? 1 : 2) + (x == x ? 4 : 8);
            h = h * 31 + Double.doubleToLongBits(x % 7.25);
        }
        return Long.toHexString(h);
    }

    static Object functions() {
        long h = 0;
        for (int i = 1; i < 40_000; i++) {
            double x = i * 0.0432 - 800;
            h = h * 31 + Double.doubleToRawLongBits(StrictMath.sin(x) + StrictMath.exp(x / 100));
            h = h * 31 + Double.doubleToRawLongBits(Math.sin(x) + Math.cos(x) + Math.tan(x));
            // HotSpot's logarithms and powers begin with RCPPS, whose last bits are the maker's.
            h = h * 31 + Float.floatToRawIntBits((float) (Math.exp(x / 9) + Math.log(i) + Math.log10(i)));
            h = h * 31 + Float.floatToRawIntBits((float) (Math.pow(i, 0.37) + Math.cbrt(x) + Math.atan2(x, i)));
        }
        return Long.toHexString(h);
    }

    static Object matrices() {
        int n = 160;
        double[][] a = new double[n][n], b = new double[n][n], c = new double[n][n];
        for (int i = 0; i < n; i++)
            for (int j = 0; j < n; j++) {
                a[i][j] = 1.0 / (i + j + 1);
                b[i][j] = i - j / 3.0;
            }
        for (int round = 0; round < 4; round++)
            for (int i = 0; i < n; i++)
                for (int k = 0; k < n; k++)
                    for (int j = 0; j < n; j++) c[i][j] += a[i][k] * b[k][j];
        return Double.toHexString(Arrays.stream(c).flatMapToDouble(Arrays::stream).sum());
    }

    static Object vectors() {
        int[] x = new int[4099], y = new int[4099];
        float[] f = new float[4099], g = new float[4099];
        short[] s = new short[4099];
        byte[] p = new byte[4099];
        long h = 0;
        for (int round = 1; round < 120; round++) {
            for (int i = 0; i < x.length; i++) x[i] = y[i] * round + (i ^ round);
            for (int i = 0; i < x.length; i++) y[i] = Math.max(x[i] >> 3, y[i]) - (x[i] << 2);
            for (int i = 0; i < x.length; i++) f[i] = g[i] * 0.5f + x[i];
            for (int i = 0; i < x.length; i++) g[i] = (float) Math.sqrt(Math.abs(f[i]));
            for (int i = 0; i < x.length; i++) s[i] = (short) (s[i] * 3 + x[i]);
            for (int i = 0; i < x.length; i++) p[i] = (byte) (p[i] + s[i] >> 1);
            int sum = 0;
            for (int i = 0; i < x.length; i++) sum += y[i] + s[i] * p[i];
            h = h * 31 + sum + Arrays.hashCode(x) + Arrays.hashCode(g) + Arrays.mismatch(x, y);
        }
        return Long.toHexString(h);
    }

    static Object strings() {
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < 15_000; i++)
            text.append(i * 7919 % 1009).append(i % 50 == 0 ? "\u00e9\u4e16," : ",");
        String whole = text.toString();
        int found = 0;
        for (int at = whole.indexOf("77,"); at >= 0; at = whole.indexOf("77,", at + 1)) found++;
        String[] parts = whole.split(",");
        String upper = whole.replace("13", "thirteen").toUpperCase();
        long matches = java.util.regex.Pattern.compile("(\\d)\\1,(?=[1-5]+)").matcher(whole).results().count();
        String formatted = String.format("%08.3f|%x|%-9s|%+d", 3.14159, 48879, "left", 42);
        return found + " " + parts.length + " " + upper.hashCode() + " " + matches + " " + formatted;
    }

    static Object classes() {
        Shape[] shapes = new Shape[999];
        for (int i = 0; i < shapes.length; i++)
            shapes[i] = switch (i % 7) {
                case 0, 3 -> new Circle(i);
                case 1, 5 -> new Square(i + 0.5);
                default -> new Triangle(i, i + 1, i + 2);
            };
        IntBinaryOperator[] operators = {(a, b) -> a + b, (a, b) -> a * b, (a, b) -> a ^ b, Math::max};
        double area = 0;
        int folded = 1;
        for (int round = 0; round < 200; round++)
            for (int i = 0; i < shapes.length; i++) {
                area += shapes[i].area();
                folded = operators[(i + round) % operators.length].applyAsInt(folded, i);
                if (shapes[i] instanceof Square square && square.side() > 900) folded++;
            }
        return Double.toHexString(area) + " " + folded;
    }

    static Object exceptions() {
        int[] few = new int[10];
        Object[] things = {"word", 1, null, 2.5, new int[3]};
        long h = 0;
        for (int i = 0; i < 80_000; i++) {
            try {
                h += few[i % 13] + 100 / (i % 17);
                h += ((String) things[i % 5]).length();
            } catch (ArrayIndexOutOfBoundsException e) {
                h = h * 3 + 1;
            } catch (ArithmeticException e) {
                h = h * 5 + 2;
            } catch (NullPointerException e) {
                h = h * 7 + 3;
            } catch (ClassCastException e) {
                h = h * 11 + 4;
            }
        }
        return Long.toHexString(h) + " " + depth(0);
    }

    static int depth(int n) {
        try {
            return depth(n + 1);
        } catch (StackOverflowError e) {
            return 1;
        }
    }

    static Object maps() {
        Map<Integer, List<String>> map = new HashMap<>();
        for (int i = 0; i < 60_000; i++)
            map.computeIfAbsent(i * 31 % 5003, k -> new ArrayList<>()).add("v" + i % 97);
        long h = 0;
        for (int key = 0; key < 5003; key++) h = h * 31 + map.get(key).hashCode();
        return Long.toHexString(h);
    }

    static Object bigNumbers() {
        BigInteger product = BigInteger.ONE;
        for (int i = 2; i < 1500; i++) product = product.multiply(BigInteger.valueOf(i));
        BigInteger prime = BigInteger.TWO.pow(521).subtract(BigInteger.ONE);
        return product.toString().hashCode() + " " + product.mod(prime).modPow(product, prime).hashCode()
            + " " + prime.isProbablePrime(20);
    }

    static Object digests() throws Exception {
        byte[] data = new byte[1 << 18];
        new SplittableRandom(5).nextBytes(data);
        StringBuilder told = new StringBuilder();
        for (String name : new String[] {"MD5", "SHA-1", "SHA-256", "SHA-512", "SHA3-256"}) {
            byte[] digest = data;
            for (int i = 0; i < 4; i++) {
                MessageDigest made = MessageDigest.getInstance(name);
                made.update(digest);
                digest = made.digest(data);
            }
            told.append(HexFormat.of().formatHex(digest), 0, 12).append(' ');
        }
        javax.crypto.Cipher cipher = javax.crypto.Cipher.getInstance("AES/GCM/NoPadding");
        cipher.init(1, new javax.crypto.spec.SecretKeySpec(data, 0, 16, "AES"),
            new javax.crypto.spec.GCMParameterSpec(128, data, 16, 12));
        CRC32 sum = new CRC32();
        sum.update(cipher.doFinal(data));
        return told.append(Long.toHexString(sum.getValue()));
    }

    static Object compression() throws Exception {
        byte[] data = "to be compressed, and again: ".repeat(20_000).getBytes(), packed = new byte[1 << 20];
        Deflater deflater = new Deflater(6);
        deflater.setInput(data);
        deflater.finish();
        int size = deflater.deflate(packed);
        Inflater inflater = new Inflater();
        inflater.setInput(packed, 0, size);
        byte[] back = new byte[data.length];
        return size + " " + inflater.inflate(back) + " " + Arrays.equals(data, back);
    }

    static Object sorting() {
        SplittableRandom random = new SplittableRandom(7);
        int[] numbers = random.ints(120_000).toArray();
        double[] reals = random.doubles(60_000).toArray();
        Arrays.parallelSort(numbers);
        Arrays.sort(reals);
        return Arrays.hashCode(numbers) + " " + Arrays.hashCode(reals);
    }

    static Object streams() {
        long squares = IntStream.range(0, 600_000).parallel().mapToLong(i -> (long) i * i % 1013).sum();
        long odd = IntStream.range(0, 600_000).parallel().filter(i -> Integer.bitCount(i) % 2 == 1)
            .mapToLong(i -> i * 77L).reduce(0, (a, b) -> a ^ b);
        return squares + " " + odd;
    }

    static Object threads() throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(THREADS);
        ConcurrentHashMap<Integer, Integer> counts = new ConcurrentHashMap<>();
        AtomicLong total = new AtomicLong();
        List<Future<Long>> futures = new ArrayList<>();
        for (int t = 0; t < THREADS * 2; t++) {
            int mine = t;
            futures.add(pool.submit(() -> {
                long h = mine;
                for (int i = 0; i < 20_000; i++) {
                    counts.merge(i % 701, 1, Integer::sum);
                    total.addAndGet(i);
                    h = h * 31 + i;
                }
                return h;
            }));
        }
        long h = 0;
        for (Future<Long> future : futures) h ^= future.get();
        pool.shutdown();
        return Long.toHexString(h) + " " + total + " " + counts.values().stream().mapToInt(i -> i).sum();
    }

    static int guarded;
    static long twice;

    static Object locks() throws Exception {
        ReentrantLock lock = new ReentrantLock();
        Object monitor = new Object();
        Thread[] threads = new Thread[THREADS];
        for (int t = 0; t < THREADS; t++) {
            threads[t] = new Thread(() -> {
                for (int i = 0; i < 15_000; i++) {
                    synchronized (monitor) {
                        guarded++;
                    }
                    lock.lock();
                    try {
                        twice += 2;
                    } finally {
                        lock.unlock();
                    }
                }
            });
            threads[t].start();
        }
        for (Thread thread : threads) thread.join();
        return guarded + " " + twice;
    }

    static Object virtualThreads() throws Exception {
        AtomicLong sum = new AtomicLong();
        try (ExecutorService each = Executors.newVirtualThreadPerTaskExecutor()) {
            for (int i = 0; i < 800; i++) {
                int mine = i;
                each.submit(() -> {
                    Thread.sleep(1);
                    return sum.addAndGet(mine);
                });
            }
        }
        return sum;
    }

    static Object garbage() throws Exception {
        long h = 0;
        Object[] kept = new Object[10_000];
        for (int i = 0; i < 1_000_000; i++) {
            Object[] made = {kept[i % kept.length], i};
            if (i % 5 == 0) kept[i * 17 % kept.length] = new int[] {i};
            if (made[0] instanceof int[] old) h = h * 31 + old[0];
        }
        System.gc();
        for (Object each : kept) if (each instanceof int[] old) h = h * 31 + old[0];
        return Long.toHexString(h);
    }
}
