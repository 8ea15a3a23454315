package driver;

import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.filter.FilterFactory;
import org.apache.rocketmq.filter.expression.EvaluationContext;
import org.apache.rocketmq.filter.expression.Expression;
import org.apache.rocketmq.filter.util.BloomFilter;

/** sql.check and bloom.positions: what the broker's filter module says. */
final class Filters {
    static {
        Driver.COMMANDS.put("sql.check", Filters::check);
        Driver.COMMANDS.put("bloom.positions", Filters::positions);
    }

    /**
     * For each line {@code EXPRESSION TAB PROPERTIES} of the file {@code in} (both in hexadecimal) a line of the file
     * {@code out}: {@code P TEXT} (hexadecimal) when it cannot be compiled, {@code X} when the evaluation throws, {@code T},
     * {@code F} or {@code N} for true, false and null.
     */
    private static Map<String, Object> check(Options o) throws Exception {
        List<String> lines = Files.readAllLines(Path.of(o.get("in")));
        try (PrintWriter out = new PrintWriter(Files.newBufferedWriter(Path.of(o.get("out"))))) {
            for (String line : lines) {
                int tab = line.indexOf('\t');
                out.println(outcome(text(line.substring(0, tab)), text(line.substring(tab + 1))));
            }
        }
        return Map.of("lines", lines.size());
    }

    private static String outcome(String sql, String properties) {
        Expression expression;
        try {
            expression = FilterFactory.INSTANCE.get("SQL92").compile(sql);
        } catch (Throwable failure) {
            return "P " + hex(String.valueOf(failure.getMessage()));
        }
        Map<String, String> map = MessageDecoder.string2messageProperties(properties);
        try {
            Object value = expression.evaluate(new EvaluationContext() {
                @Override
                public Object get(String name) {
                    return map.get(name);
                }

                @Override
                public Map<String, Object> keyValues() {
                    return null;
                }
            });
            return value == null ? "N" : !(value instanceof Boolean) ? "?" : (Boolean) value ? "T" : "F";
        } catch (Throwable failure) {
            return "X";
        }
    }

    /** Bits of the names (joined by commas) in a filter of {@code rate} percent for {@code expected} names. */
    private static Map<String, Object> positions(Options o) {
        BloomFilter filter = BloomFilter.createByFn(o.number("rate", 20), o.number("expected", 32));
        List<Object> all = Arrays.stream(o.get("names").split(",", -1))
            .map(name -> Arrays.stream(filter.calcBitPositions(name)).boxed().collect(Collectors.toList()))
            .collect(Collectors.toList());
        return Map.of("bits", filter.getM(), "hashes", filter.getK(), "positions", all);
    }

    private static String text(String hex) {
        byte[] bytes = new byte[hex.length() / 2];
        for (int i = 0; i < bytes.length; i++) {
            bytes[i] = (byte) Integer.parseInt(hex.substring(2 * i, 2 * i + 2), 16);
        }
        return new String(bytes, StandardCharsets.UTF_8);
    }

    private static String hex(String text) {
        StringBuilder hex = new StringBuilder();
        for (byte one : text.getBytes(StandardCharsets.UTF_8)) {
            hex.append(String.format("%02x", one));
        }
        return hex.toString();
    }
}
