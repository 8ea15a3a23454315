package driver;

import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;

/** The key=value options of one request. */
final class Options {
    private final Map<String, String> values = new LinkedHashMap<>();

    Options(String[] parts) {
        for (int i = 2; i < parts.length; i++) {
            int eq = parts[i].indexOf('=');
            values.put(parts[i].substring(0, eq),
                URLDecoder.decode(parts[i].substring(eq + 1).replace("+", "%2B"), StandardCharsets.UTF_8));
        }
    }

    String get(String key) {
        String value = values.get(key);
        if (value == null) {
            throw new IllegalArgumentException("option " + key + " is missing");
        }
        return value;
    }

    String get(String key, String otherwise) {
        return values.getOrDefault(key, otherwise);
    }

    boolean has(String key) {
        return values.containsKey(key);
    }

    int number(String key, int otherwise) {
        return values.containsKey(key) ? Integer.parseInt(values.get(key)) : otherwise;
    }

    long big(String key, long otherwise) {
        return values.containsKey(key) ? Long.parseLong(values.get(key)) : otherwise;
    }

    boolean flag(String key) {
        return "true".equals(values.get(key));
    }

    /** Options whose key starts with the prefix, without it. */
    Map<String, String> under(String prefix) {
        Map<String, String> found = new LinkedHashMap<>();
        values.forEach((key, value) -> {
            if (key.startsWith(prefix)) {
                found.put(key.substring(prefix.length()), value);
            }
        });
        return found;
    }
}
