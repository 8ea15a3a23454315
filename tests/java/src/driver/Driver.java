package driver;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/**
 * One process that holds any number of RocketMQ clients and does what the test says on standard input.
 *
 * <p>Request: {@code ID TAB COMMAND TAB key=value TAB …} on one line; %XX escapes in values.
 * Answer: one JSON line {@code {"id":ID,"ok":true,…}} or {@code {"id":ID,"ok":false,"error":…}}.
 * Requests run side by side, so answers come in any order. End of input ends the process.
 */
public final class Driver {
    /** A command: takes its options, returns what is added to the answer. */
    public interface Command {
        Map<String, Object> run(Options options) throws Exception;
    }

    /** Commands by name; a role class adds its own when it is loaded. */
    static final Map<String, Command> COMMANDS = new ConcurrentHashMap<>();

    private static final PrintStream ANSWERS = System.out;

    /** Set while a tool runs that may end the process in its zeal. */
    static volatile boolean exitRefused;

    @SuppressWarnings("removal")
    private static void refuseExit() {
        try {
            System.setSecurityManager(new SecurityManager() {
                @Override
                public void checkExit(int status) {
                    if (exitRefused) {
                        throw new SecurityException("the tool ends with exit code " + status);
                    }
                }

                @Override
                public void checkPermission(java.security.Permission permission) {
                    // Everything else is allowed.
                }
            });
        } catch (UnsupportedOperationException newerJdk) {
            System.err.println("no security manager in this JDK: a tool that exits ends this process");
        }
    }

    public static void main(String[] args) throws Exception {
        System.setOut(System.err);
        refuseExit();
        for (String role : new String[] {"Producers", "PushConsumers", "PullConsumers", "LitePullConsumers", "Requests", "Admins"}) {
            try {
                Class.forName("driver." + role);
            } catch (ClassNotFoundException absent) {
                // A role that this client version does not have.
                System.err.println("no role " + role);
            }
        }
        ExecutorService workers = Executors.newCachedThreadPool(job -> {
            Thread thread = new Thread(job, "driver-command");
            thread.setDaemon(true);
            return thread;
        });
        answer("0", true, Map.of("ready", true));
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String request = line;
            workers.execute(() -> handle(request));
        }
        // Clients are left to the end of the process: a test that wants a clean stop asks for it.
        Runtime.getRuntime().halt(0);
    }

    private static void handle(String line) {
        String[] parts = line.split("\t", -1);
        String id = parts[0];
        try {
            Command command = COMMANDS.get(parts[1]);
            if (command == null) {
                throw new IllegalArgumentException("no command " + parts[1] + " in this client version");
            }
            answer(id, true, command.run(new Options(parts)));
        } catch (Throwable failure) {
            Throwable cause = failure;
            while (cause instanceof java.lang.reflect.InvocationTargetException && cause.getCause() != null) {
                cause = cause.getCause();
            }
            StringWriter trace = new StringWriter();
            cause.printStackTrace(new PrintWriter(trace));
            Map<String, Object> fields = new LinkedHashMap<>();
            fields.put("error", Records.text(cause));
            fields.put("code", Reflect.responseCode(cause));
            fields.put("trace", trace.toString());
            answer(id, false, fields);
        }
    }

    private static void answer(String id, boolean ok, Map<String, Object> fields) {
        Map<String, Object> all = new LinkedHashMap<>();
        all.put("id", Long.parseLong(id));
        all.put("ok", ok);
        all.putAll(fields);
        String text = Json.write(all);
        synchronized (ANSWERS) {
            ANSWERS.println(text);
            ANSWERS.flush();
        }
    }
}
