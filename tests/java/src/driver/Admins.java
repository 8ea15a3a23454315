package driver;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.apache.rocketmq.tools.command.MQAdminStartup;

/** mqadmin (any command line of Apache's tool, run in this process) and the admin API itself. */
final class Admins {
    private static final Map<String, DefaultMQAdminExt> ADMINS = new ConcurrentHashMap<>();

    static {
        Driver.COMMANDS.put("mqadmin", Admins::mqadmin);
        Driver.COMMANDS.put("admin.start", Admins::start);
        Driver.COMMANDS.put("admin.stop", o -> {
            ADMINS.remove(o.get("name")).shutdown();
            return Map.of();
        });
        Driver.COMMANDS.put("admin.topic", Admins::topic);
        Driver.COMMANDS.put("admin.group", Admins::group);
        Driver.COMMANDS.put("admin.call", Admins::call);
        Driver.COMMANDS.put("admin.view", Admins::view);
        Driver.COMMANDS.put("admin.status", Admins::status);
    }

    /** Runs {@code mqadmin a0 a1 …} and returns what it printed. One at a time: standard output is shared. */
    private static synchronized Map<String, Object> mqadmin(Options o) throws Exception {
        String[] arguments = new String[o.number("n", 0)];
        for (int i = 0; i < arguments.length; i++) {
            arguments[i] = o.get("a" + i);
        }
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        PrintStream before = System.out;
        PrintStream beforeErr = System.err;
        PrintStream capture = new PrintStream(printed, true, StandardCharsets.UTF_8);
        System.setOut(capture);
        System.setErr(capture);
        Driver.exitRefused = true;
        try {
            forgetCommands();
            MQAdminStartup.main0(arguments, null);
        } catch (SecurityException exit) {
            capture.println(exit.getMessage());
        } finally {
            Driver.exitRefused = false;
            System.setOut(before);
            System.setErr(beforeErr);
        }
        return Map.of("output", printed.toString(StandardCharsets.UTF_8));
    }

    /** Some commands keep a client that they have shut down: every run starts with new ones. */
    private static void forgetCommands() throws ReflectiveOperationException {
        for (java.lang.reflect.Field field : MQAdminStartup.class.getDeclaredFields()) {
            if (java.util.List.class.isAssignableFrom(field.getType())) {
                field.setAccessible(true);
                ((java.util.List<?>) field.get(null)).clear();
            }
        }
    }

    private static Map<String, Object> start(Options o) throws Exception {
        DefaultMQAdminExt admin = new DefaultMQAdminExt();
        admin.setNamesrvAddr(o.get("namesrv"));
        admin.setInstanceName(o.get("name"));
        admin.setVipChannelEnabled(o.flag("vip"));
        admin.start();
        ADMINS.put(o.get("name"), admin);
        return Map.of();
    }

    private static Map<String, Object> topic(Options o) throws Exception {
        DefaultMQAdminExt admin = ADMINS.get(o.get("name"));
        TopicConfig config = new TopicConfig(o.get("topic"));
        config.setReadQueueNums(o.number("queues", 4));
        config.setWriteQueueNums(o.number("queues", 4));
        config.setPerm(o.number("perm", 6));
        config.setOrder(o.flag("order"));
        admin.createAndUpdateTopicConfig(o.get("addr"), config);
        return Map.of();
    }

    private static Map<String, Object> group(Options o) throws Exception {
        DefaultMQAdminExt admin = ADMINS.get(o.get("name"));
        Class<?> type = Reflect.parameter(DefaultMQAdminExt.class, "createAndUpdateSubscriptionGroupConfig", 2, 1);
        Object config = type.getConstructor().newInstance();
        Reflect.call(config, "setGroupName", o.get("group"));
        Reflect.call(config, "setConsumeEnable", !"false".equals(o.get("enable", "true")));
        Reflect.call(config, "setConsumeBroadcastEnable", !"false".equals(o.get("broadcast", "true")));
        Reflect.call(config, "setRetryMaxTimes", o.number("retryMax", 16));
        Reflect.call(config, "setRetryQueueNums", o.number("retryQueues", 1));
        Reflect.call(admin, "createAndUpdateSubscriptionGroupConfig", o.get("addr"), config);
        return Map.of();
    }

    /**
     * Calls {@code method} of the admin API with the arguments s0|i0|l0|b0, s1|…; the prefix says the type
     * (string, int, long, boolean, and S for a set of one string). Returns the result's own JSON or text.
     */
    private static Map<String, Object> call(Options o) throws Exception {
        DefaultMQAdminExt admin = ADMINS.get(o.get("name"));
        int count = o.number("n", 0);
        Object[] arguments = new Object[count];
        for (int i = 0; i < count; i++) {
            if (o.has("s" + i)) {
                arguments[i] = o.get("s" + i);
            } else if (o.has("i" + i)) {
                arguments[i] = o.number("i" + i, 0);
            } else if (o.has("l" + i)) {
                arguments[i] = o.big("l" + i, 0);
            } else if (o.has("b" + i)) {
                arguments[i] = o.flag("b" + i);
            } else if (o.has("S" + i)) {
                arguments[i] = new java.util.HashSet<>(java.util.List.of(o.get("S" + i)));
            } else if (o.has("L" + i)) {
                arguments[i] = new java.util.ArrayList<>(java.util.List.of(o.get("L" + i)));
            } else if (o.has("P" + i)) {
                java.util.Properties properties = new java.util.Properties();
                String[] pair = o.get("P" + i).split("=", 2);
                properties.setProperty(pair[0], pair[1]);
                arguments[i] = properties;
            }
        }
        Object result = Reflect.call(admin, o.get("method"), arguments);
        Map<String, Object> answer = new LinkedHashMap<>();
        answer.put("result", result instanceof Number || result instanceof Boolean ? result : json(result));
        return answer;
    }

    private static String json(Object result) {
        if (result == null) {
            return null;
        }
        try {
            return (String) Reflect.call(result, "toJson");
        } catch (Exception notSerialisable) {
            return String.valueOf(result);
        }
    }

    /** Where the clients of a group say they are: by client and queue. */
    private static Map<String, Object> status(Options o) throws Exception {
        DefaultMQAdminExt admin = ADMINS.get(o.get("name"));
        return Map.of("status", admin.getConsumeStatus(o.get("topic"), o.get("group"), o.get("client", "")));
    }

    private static Map<String, Object> view(Options o) throws Exception {
        DefaultMQAdminExt admin = ADMINS.get(o.get("name"));
        MessageExt message = admin.viewMessage(o.get("topic"), o.get("id"));
        return Map.of("message", Records.received(message, null));
    }
}
