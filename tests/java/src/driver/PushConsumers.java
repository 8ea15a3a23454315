package driver;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** push.start, push.subscribe, push.await, push.queues, push.suspend, push.resume, push.stop. */
final class PushConsumers {
    private static final Map<String, Push> PUSHES = new ConcurrentHashMap<>();

    static {
        Driver.COMMANDS.put("push.start", PushConsumers::start);
        Driver.COMMANDS.put("push.subscribe", o -> {
            subscribe(PUSHES.get(o.get("name")).consumer, o);
            return Map.of();
        });
        Driver.COMMANDS.put("push.await", PushConsumers::await);
        Driver.COMMANDS.put("push.queues", PushConsumers::queues);
        Driver.COMMANDS.put("push.stop", PushConsumers::stop);
    }

    /** A consumer and everything it was given, in order of arrival. */
    private static final class Push {
        final DefaultMQPushConsumer consumer;
        final List<Map<String, Object>> received = new ArrayList<>();
        final Map<String, Integer> deliveries = new ConcurrentHashMap<>();

        Push(DefaultMQPushConsumer consumer) {
            this.consumer = consumer;
        }

        /** Remembers the messages; false when one of them is still to be refused. */
        boolean take(List<MessageExt> messages, MessageQueue queue, int refusals) {
            boolean accept = true;
            for (MessageExt message : messages) {
                Map<String, Object> record = Records.received(message, queue);
                int seen = deliveries.merge((String) record.get("body"), 1, Integer::sum);
                boolean taken = seen > refusals;
                record.put("accepted", taken);
                accept &= taken;
                synchronized (received) {
                    received.add(record);
                    received.notifyAll();
                }
            }
            return accept;
        }
    }

    private static Map<String, Object> start(Options o) throws Exception {
        DefaultMQPushConsumer consumer = o.flag("trace")
            ? Reflect.traced(DefaultMQPushConsumer.class, o.get("group")) : new DefaultMQPushConsumer(o.get("group"));
        consumer.setNamesrvAddr(o.get("namesrv"));
        consumer.setInstanceName(o.get("name"));
        consumer.setHeartbeatBrokerInterval(o.number("heartbeat", 2000));
        consumer.setVipChannelEnabled(o.flag("vip"));
        consumer.setConsumeFromWhere("last".equals(o.get("from", "first"))
            ? ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET : ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setMessageModel(Reflect.sibling(consumer.getMessageModel(),
            "broadcast".equals(o.get("model", "cluster")) ? "BROADCASTING" : "CLUSTERING"));
        if (o.has("maxReconsume")) {
            consumer.setMaxReconsumeTimes(o.number("maxReconsume", 16));
        }
        consumer.setConsumeThreadMin(o.number("threads", 4));
        consumer.setConsumeThreadMax(o.number("threads", 4));
        consumer.setConsumeMessageBatchMaxSize(o.number("batch", 1));
        consumer.setPullBatchSize(o.number("pullBatch", 32));
        consumer.setSuspendCurrentQueueTimeMillis(o.number("suspend", 200));
        consumer.setPersistConsumerOffsetInterval(o.number("persist", 1000));
        consumer.setPollNameServerInterval(o.number("poll", 30000));
        if (o.flag("pop")) {
            // The broker assigns queues, and says whether they are pulled or popped.
            Reflect.call(consumer, "setClientRebalance", false);
        }
        subscribe(consumer, o);
        Push push = new Push(consumer);
        int refusals = o.number("refuse", 0);
        int level = o.number("level", 0);
        if (o.flag("orderly")) {
            consumer.registerMessageListener((MessageListenerOrderly) (messages, context) ->
                push.take(messages, context.getMessageQueue(), refusals)
                    ? ConsumeOrderlyStatus.SUCCESS : ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT);
        } else {
            consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
                context.setDelayLevelWhenNextConsume(level);
                return push.take(messages, context.getMessageQueue(), refusals)
                    ? ConsumeConcurrentlyStatus.CONSUME_SUCCESS : ConsumeConcurrentlyStatus.RECONSUME_LATER;
            });
        }
        consumer.start();
        PUSHES.put(o.get("name"), push);
        return Map.of();
    }

    private static void subscribe(DefaultMQPushConsumer consumer, Options o) throws Exception {
        if (o.has("sql")) {
            consumer.subscribe(o.get("topic"), MessageSelector.bySql(o.get("sql")));
        } else {
            consumer.subscribe(o.get("topic"), o.get("sub", "*"));
        }
    }

    /**
     * Waits until {@code count} different accepted bodies (or {@code deliveries} deliveries) have come, and then for
     * {@code quiet} ms without another. Returns what came; {@code complete} says whether the wait was fulfilled.
     */
    private static Map<String, Object> await(Options o) throws Exception {
        Push push = PUSHES.get(o.get("name"));
        int count = o.number("count", 0);
        int deliveries = o.number("deliveries", 0);
        long deadline = System.currentTimeMillis() + o.number("timeout", 30000);
        int quiet = o.number("quiet", 0);
        synchronized (push.received) {
            boolean complete = false;
            while (!complete) {
                Set<Object> bodies = new TreeSet<>();
                for (Map<String, Object> record : push.received) {
                    if (Boolean.TRUE.equals(record.get("accepted"))) {
                        bodies.add(record.get("body"));
                    }
                }
                complete = bodies.size() >= count && push.received.size() >= deliveries;
                long left = deadline - System.currentTimeMillis();
                if (complete || left <= 0) {
                    break;
                }
                push.received.wait(left);
            }
            while (complete && quiet > 0) {
                int before = push.received.size();
                push.received.wait(quiet);
                if (push.received.size() == before) {
                    break;
                }
            }
            List<Object> copy = new ArrayList<>(push.received);
            if (o.flag("clear")) {
                push.received.clear();
            }
            Map<String, Object> answer = new LinkedHashMap<>();
            answer.put("complete", complete);
            answer.put("messages", copy);
            return answer;
        }
    }

    /** The queues this member holds now, as broker:queue, without those of retry topics. */
    private static Map<String, Object> queues(Options o) throws Exception {
        Push push = PUSHES.get(o.get("name"));
        Object impl = push.consumer.getDefaultMQPushConsumerImpl();
        Object rebalance = Reflect.call(impl, "getRebalanceImpl");
        Map<?, ?> table = (Map<?, ?>) Reflect.call(rebalance, "getProcessQueueTable");
        List<String> queues = new ArrayList<>();
        for (Object key : table.keySet()) {
            MessageQueue queue = (MessageQueue) key;
            if (!queue.getTopic().startsWith("%RETRY%")) {
                queues.add(queue.getBrokerName() + ":" + queue.getQueueId());
            }
        }
        Collections.sort(queues);
        return Map.of("queues", queues);
    }

    /** Shuts the consumer down, and returns everything that it ever was given. */
    private static Map<String, Object> stop(Options o) {
        Push push = PUSHES.remove(o.get("name"));
        push.consumer.shutdown();
        synchronized (push.received) {
            return Map.of("messages", new ArrayList<>(push.received));
        }
    }
}
