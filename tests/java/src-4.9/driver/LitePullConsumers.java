package driver;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** lite.start, lite.poll, lite.seek, lite.commit, lite.stop (client 4.6 and newer). */
final class LitePullConsumers {
    private static final Map<String, DefaultLitePullConsumer> LITES = new ConcurrentHashMap<>();

    static {
        Driver.COMMANDS.put("lite.start", LitePullConsumers::start);
        Driver.COMMANDS.put("lite.poll", LitePullConsumers::poll);
        Driver.COMMANDS.put("lite.seek", LitePullConsumers::seek);
        Driver.COMMANDS.put("lite.commit", o -> {
            LITES.get(o.get("name")).commitSync();
            return Map.of();
        });
        Driver.COMMANDS.put("lite.stop", o -> {
            LITES.remove(o.get("name")).shutdown();
            return Map.of();
        });
    }

    /** Subscribes (rebalanced), or with {@code assign=true} takes every queue of the topic by hand. */
    private static Map<String, Object> start(Options o) throws Exception {
        DefaultLitePullConsumer consumer = new DefaultLitePullConsumer(o.get("group"));
        consumer.setNamesrvAddr(o.get("namesrv"));
        consumer.setInstanceName(o.get("name"));
        consumer.setHeartbeatBrokerInterval(o.number("heartbeat", 2000));
        consumer.setVipChannelEnabled(o.flag("vip"));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setAutoCommit(!"false".equals(o.get("autoCommit", "true")));
        consumer.setAutoCommitIntervalMillis(1000);
        boolean assign = o.flag("assign");
        if (!assign && o.has("sql")) {
            consumer.subscribe(o.get("topic"), MessageSelector.bySql(o.get("sql")));
        } else if (!assign) {
            consumer.subscribe(o.get("topic"), o.get("sub", "*"));
        }
        consumer.start();
        if (assign) {
            consumer.assign(new ArrayList<>(consumer.fetchMessageQueues(o.get("topic"))));
        }
        LITES.put(o.get("name"), consumer);
        return Map.of();
    }

    /** Polls until {@code count} different bodies came or the time is over. */
    private static Map<String, Object> poll(Options o) {
        DefaultLitePullConsumer consumer = LITES.get(o.get("name"));
        long deadline = System.currentTimeMillis() + o.number("timeout", 30000);
        TreeSet<Object> bodies = new TreeSet<>();
        List<Object> messages = new ArrayList<>();
        while (bodies.size() < o.number("count", 1) && System.currentTimeMillis() < deadline) {
            for (MessageExt message : consumer.poll(500)) {
                Map<String, Object> record = Records.received(message, null);
                record.put("broker", message.getBrokerName());
                record.put("accepted", true);
                bodies.add(record.get("body"));
                messages.add(record);
            }
        }
        Map<String, Object> answer = new LinkedHashMap<>();
        answer.put("complete", bodies.size() >= o.number("count", 1));
        answer.put("messages", messages);
        return answer;
    }

    /** Moves every queue of the topic to {@code offset}. */
    private static Map<String, Object> seek(Options o) throws Exception {
        DefaultLitePullConsumer consumer = LITES.get(o.get("name"));
        for (MessageQueue queue : consumer.fetchMessageQueues(o.get("topic"))) {
            consumer.seek(queue, o.big("offset", 0));
        }
        return Map.of();
    }
}
