package driver;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** pull.start, pull.queues, pull.fetch, pull.offset, pull.commit, pull.sendback, pull.stop. */
final class PullConsumers {
    private static final Map<String, DefaultMQPullConsumer> PULLS = new ConcurrentHashMap<>();

    static {
        Driver.COMMANDS.put("pull.start", PullConsumers::start);
        Driver.COMMANDS.put("pull.queues", PullConsumers::queues);
        Driver.COMMANDS.put("pull.fetch", PullConsumers::fetch);
        Driver.COMMANDS.put("pull.offset", PullConsumers::offset);
        Driver.COMMANDS.put("pull.commit", PullConsumers::commit);
        Driver.COMMANDS.put("pull.sendback", PullConsumers::sendBack);
        Driver.COMMANDS.put("pull.stop", o -> {
            PULLS.remove(o.get("name")).shutdown();
            return Map.of();
        });
    }

    private static Map<String, Object> start(Options o) throws Exception {
        DefaultMQPullConsumer consumer = new DefaultMQPullConsumer(o.get("group"));
        consumer.setNamesrvAddr(o.get("namesrv"));
        consumer.setInstanceName(o.get("name"));
        consumer.setHeartbeatBrokerInterval(o.number("heartbeat", 2000));
        consumer.setVipChannelEnabled(o.flag("vip"));
        if (o.has("topic")) {
            consumer.setRegisterTopics(Set.of(o.get("topic")));
        }
        consumer.start();
        PULLS.put(o.get("name"), consumer);
        return Map.of();
    }

    private static MessageQueue queue(Options o) {
        return new MessageQueue(o.get("topic"), o.get("broker"), o.number("queue", 0));
    }

    private static Map<String, Object> queues(Options o) throws Exception {
        Set<String> names = new TreeSet<>();
        for (MessageQueue queue : PULLS.get(o.get("name")).fetchSubscribeMessageQueues(o.get("topic"))) {
            names.add(queue.getBrokerName() + ":" + queue.getQueueId());
        }
        return Map.of("queues", new ArrayList<>(names));
    }

    private static Map<String, Object> fetch(Options o) throws Exception {
        DefaultMQPullConsumer consumer = PULLS.get(o.get("name"));
        String sub = o.get("sub", "*");
        PullResult result = o.has("sql")
            ? consumer.pull(queue(o), MessageSelector.bySql(o.get("sql")), o.big("offset", 0), o.number("max", 32))
            : o.flag("block")
            ? consumer.pullBlockIfNotFound(queue(o), sub, o.big("offset", 0), o.number("max", 32))
            : consumer.pull(queue(o), sub, o.big("offset", 0), o.number("max", 32));
        List<Object> messages = new ArrayList<>();
        if (result.getMsgFoundList() != null) {
            for (MessageExt message : result.getMsgFoundList()) {
                messages.add(Records.received(message, queue(o)));
            }
        }
        Map<String, Object> answer = new LinkedHashMap<>();
        answer.put("status", result.getPullStatus().name());
        answer.put("next", result.getNextBeginOffset());
        answer.put("min", result.getMinOffset());
        answer.put("max", result.getMaxOffset());
        answer.put("messages", messages);
        return answer;
    }

    /** One of min, max, earliest (a time), committed, or the offset at a time. */
    private static Map<String, Object> offset(Options o) throws Exception {
        DefaultMQPullConsumer consumer = PULLS.get(o.get("name"));
        long value;
        switch (o.get("what")) {
            case "min":
                value = consumer.minOffset(queue(o));
                break;
            case "max":
                value = consumer.maxOffset(queue(o));
                break;
            case "earliest":
                value = consumer.earliestMsgStoreTime(queue(o));
                break;
            case "committed":
                value = consumer.fetchConsumeOffset(queue(o), true);
                break;
            default:
                value = consumer.searchOffset(queue(o), o.big("time", 0));
        }
        return Map.of("offset", value);
    }

    private static Map<String, Object> commit(Options o) throws Exception {
        DefaultMQPullConsumer consumer = PULLS.get(o.get("name"));
        consumer.getDefaultMQPullConsumerImpl().getOffsetStore()
            .updateConsumeOffsetToBroker(queue(o), o.big("offset", 0), false);
        return Map.of();
    }

    /** Pulls one message and hands it back to the broker for a later try. */
    private static Map<String, Object> sendBack(Options o) throws Exception {
        DefaultMQPullConsumer consumer = PULLS.get(o.get("name"));
        PullResult result = consumer.pull(queue(o), "*", o.big("offset", 0), 1);
        consumer.sendMessageBack(result.getMsgFoundList().get(0), o.number("level", 1), o.get("broker"));
        return Map.of();
    }
}
