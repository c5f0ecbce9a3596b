import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** Collections, streams, strings and arithmetic; the argument is how much of it. */
public class Work {
    sealed interface Shape permits Circle, Square {}

    record Circle(double radius) implements Shape {}

    record Square(double side) implements Shape {}

    static double area(Shape shape) {
        return switch (shape) {
            case Circle circle -> 3.0 * circle.radius() * circle.radius();
            case Square square -> square.side() * square.side();
        };
    }

    static String words(int count) {
        Map<String, Integer> seen = new HashMap<>();
        long seed = 42;
        for (int i = 0; i < count; i++) {
            seed = seed * 16807 % 2147483647;
            seen.merge("w" + seed % 800, 1, Integer::sum);
        }
        return seen.entrySet().stream()
            .sorted(Map.Entry.<String, Integer>comparingByValue().reversed().thenComparing(Map.Entry.comparingByKey()))
            .limit(3).map(Object::toString).collect(Collectors.joining(","));
    }

    static double shapes(int count) {
        List<Shape> shapes = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            shapes.add(i % 3 == 0 ? new Circle(i) : new Square(i * 0.5));
        }
        return shapes.stream().mapToDouble(Work::area).sum();
    }

    static int sieve(int limit) {
        boolean[] marked = new boolean[limit];
        return (int) IntStream.range(2, limit).filter(i -> {
            if (marked[i]) {
                return false;
            }
            for (long j = (long) i * i; j < limit; j += i) {
                marked[(int) j] = true;
            }
            return true;
        }).count();
    }

    public static void main(String[] arguments) {
        for (int i = 0; i < Integer.parseInt(arguments[0]); i++) {
            System.out.println(words(20000) + " " + shapes(20000) + " " + sieve(200000));
        }
    }
}
