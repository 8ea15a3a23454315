package driver;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.MessageQueueSelector;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;

/** producer.start, producer.stop, send, recall, load.start, load.stop. */
final class Producers {
    private static final Map<String, DefaultMQProducer> PRODUCERS = new ConcurrentHashMap<>();
    private static final Map<String, Load> LOADS = new ConcurrentHashMap<>();

    static {
        Driver.COMMANDS.put("producer.start", Producers::start);
        Driver.COMMANDS.put("producer.stop", Producers::stop);
        Driver.COMMANDS.put("send", Producers::send);
        Driver.COMMANDS.put("recall", Producers::recall);
        Driver.COMMANDS.put("load.start", Producers::loadStart);
        Driver.COMMANDS.put("load.stop", Producers::loadStop);
    }

    private static Map<String, Object> start(Options o) throws Exception {
        start(o, o.flag("trace") ? Reflect.traced(DefaultMQProducer.class, o.get("group")) : new DefaultMQProducer(o.get("group")));
        return Map.of();
    }

    /** Starts it with the options; producer.stop ends it. */
    static void start(Options o, DefaultMQProducer producer) throws Exception {
        producer.setNamesrvAddr(o.get("namesrv"));
        producer.setInstanceName(o.get("name"));
        producer.setHeartbeatBrokerInterval(o.number("heartbeat", 2000));
        producer.setSendMsgTimeout(o.number("timeout", 10000));
        producer.setCompressMsgBodyOverHowmuch(o.number("compress", 4096));
        producer.setRetryTimesWhenSendFailed(o.number("retries", 2));
        producer.setVipChannelEnabled(o.flag("vip"));
        producer.setPollNameServerInterval(o.number("poll", 30000));
        producer.setDefaultTopicQueueNums(o.number("queues", 4));
        producer.start();
        PRODUCERS.put(o.get("name"), producer);
    }

    private static Map<String, Object> stop(Options o) {
        PRODUCERS.remove(o.get("name")).shutdown();
        return Map.of();
    }

    static DefaultMQProducer named(String name) {
        return PRODUCERS.get(name);
    }

    static Message message(Options o, String body) throws Exception {
        byte[] bytes = body.getBytes(StandardCharsets.UTF_8);
        int size = o.number("size", 0);
        if (size > bytes.length) {
            byte[] longer = new byte[size];
            java.util.Arrays.fill(longer, (byte) 'x');
            System.arraycopy(bytes, 0, longer, 0, bytes.length);
            longer[bytes.length] = '|';
            bytes = longer;
        }
        Message message = new Message(o.get("topic"), o.get("tags", ""), o.get("keys", "").replace("{}", body), bytes);
        o.under("p.").forEach(message::putUserProperty);
        // Since 5.4.
        if (o.has("priority")) {
            Reflect.call(message, "setPriority", o.number("priority", 0));
        }
        if (o.has("delay")) {
            message.setDelayTimeLevel(o.number("delay", 0));
        }
        // Since 5.0.
        if (o.has("delaySec")) {
            Reflect.call(message, "setDelayTimeSec", o.big("delaySec", 0));
        }
        if (o.has("delayMs")) {
            Reflect.call(message, "setDelayTimeMs", o.big("delayMs", 0));
        }
        if (o.has("deliverMs")) {
            Reflect.call(message, "setDeliverTimeMs", o.big("deliverMs", 0));
        }
        if (o.has("flag")) {
            message.setFlag(o.number("flag", 0));
        }
        if (o.has("waitStore")) {
            message.setWaitStoreMsgOK(o.flag("waitStore"));
        }
        return message;
    }

    /** Sends {@code count} messages whose bodies are {@code body0, body1, …} by {@code mode}. */
    private static Map<String, Object> send(Options o) throws Exception {
        DefaultMQProducer producer = PRODUCERS.get(o.get("name"));
        int count = o.number("count", 1);
        String prefix = o.get("body", "m");
        int from = o.number("from", 0);
        List<Object> results = new ArrayList<>();
        switch (o.get("mode", "sync")) {
            case "sync":
                for (int i = from; i < from + count; i++) {
                    results.add(sendOne(producer, o, prefix + i));
                }
                break;
            case "oneway":
                for (int i = from; i < from + count; i++) {
                    producer.sendOneway(message(o, prefix + i));
                }
                break;
            case "async":
                results = sendAsync(producer, o, prefix, from, count);
                break;
            case "orderly":
                MessageQueueSelector selector = (queues, message, shard) -> {
                    List<MessageQueue> sorted = new ArrayList<>(queues);
                    Collections.sort(sorted);
                    return sorted.get((Integer) shard % sorted.size());
                };
                int shards = o.number("shards", 4);
                for (int i = from; i < from + count; i++) {
                    results.add(Records.sent(prefix + i,
                        producer.send(message(o, prefix + i), selector, i % shards)));
                }
                break;
            case "batch":
                List<Message> batch = new ArrayList<>();
                List<String> bodies = new ArrayList<>();
                for (int i = from; i < from + count; i++) {
                    batch.add(message(o, prefix + i));
                    bodies.add(prefix + i);
                }
                Map<String, Object> sent = Records.sent(String.join(",", bodies), producer.send(batch));
                results.add(sent);
                break;
            default:
                throw new IllegalArgumentException("mode " + o.get("mode"));
        }
        return Map.of("results", results);
    }

    private static Map<String, Object> sendOne(DefaultMQProducer producer, Options o, String body) {
        try {
            if (o.has("queue")) {
                MessageQueue queue = new MessageQueue(o.get("topic"), o.get("broker"), o.number("queue", 0));
                return Records.sent(body, producer.send(message(o, body), queue));
            }
            return Records.sent(body, producer.send(message(o, body)));
        } catch (Exception failure) {
            return Records.failed(body, failure);
        }
    }

    /** Takes a message that waits back, by the handle that its send came back with. Since 5.3. */
    private static Map<String, Object> recall(Options o) throws Exception {
        try {
            Object id = Reflect.call(PRODUCERS.get(o.get("name")), "recallMessage", o.get("topic"), o.get("handle"));
            return Map.of("msgId", id);
        } catch (java.lang.reflect.InvocationTargetException failure) {
            throw failure.getCause() instanceof Exception ? (Exception) failure.getCause() : failure;
        }
    }

    private static List<Object> sendAsync(DefaultMQProducer producer, Options o, String prefix, int from, int count)
        throws Exception {
        List<Object> results = Collections.synchronizedList(new ArrayList<>());
        CountDownLatch left = new CountDownLatch(count);
        Semaphore inFlight = new Semaphore(8);
        for (int i = from; i < from + count; i++) {
            String body = prefix + i;
            inFlight.acquire();
            producer.send(message(o, body), new SendCallback() {
                @Override
                public void onSuccess(SendResult result) {
                    results.add(Records.sent(body, result));
                    inFlight.release();
                    left.countDown();
                }

                @Override
                public void onException(Throwable failure) {
                    results.add(Records.failed(body, failure));
                    inFlight.release();
                    left.countDown();
                }
            });
        }
        if (!left.await(o.number("wait", 30), TimeUnit.SECONDS)) {
            throw new IllegalStateException(left.getCount() + " of " + count + " sends never came back");
        }
        return results;
    }

    /** Sends in order from one thread per queue until told to stop; remembers what was acknowledged. */
    private static final class Load {
        final List<Object> acknowledged = Collections.synchronizedList(new ArrayList<>());
        final List<Object> failed = Collections.synchronizedList(new ArrayList<>());
        final List<Thread> threads = new ArrayList<>();
        volatile boolean stop;
    }

    private static Map<String, Object> loadStart(Options o) throws Exception {
        DefaultMQProducer producer = PRODUCERS.get(o.get("name"));
        Load load = new Load();
        int pause = o.number("pause", 2);
        for (MessageQueue queue : producer.fetchPublishMessageQueues(o.get("topic"))) {
            Thread thread = new Thread(() -> {
                String prefix = o.get("body", "l") + queue.getBrokerName() + "-" + queue.getQueueId() + "-";
                for (int i = 0; !load.stop; i++) {
                    String body = prefix + i;
                    try {
                        load.acknowledged.add(Records.sent(body, producer.send(message(o, body), queue, 3000)));
                    } catch (Exception failure) {
                        load.failed.add(Records.failed(body, failure));
                    }
                    try {
                        Thread.sleep(pause);
                    } catch (InterruptedException end) {
                        return;
                    }
                }
            });
            thread.setDaemon(true);
            load.threads.add(thread);
            thread.start();
        }
        LOADS.put(o.get("name"), load);
        return Map.of("threads", load.threads.size());
    }

    private static Map<String, Object> loadStop(Options o) throws Exception {
        Load load = o.flag("peek") ? LOADS.get(o.get("name")) : LOADS.remove(o.get("name"));
        if (!o.flag("peek")) {
            load.stop = true;
            for (Thread thread : load.threads) {
                thread.join(20000);
            }
        }
        Map<String, Object> answer = new LinkedHashMap<>();
        if (o.flag("peek")) {
            answer.put("acknowledged", load.acknowledged.size());
            answer.put("failed", load.failed.size());
        } else {
            answer.put("acknowledged", new ArrayList<>(load.acknowledged));
            answer.put("failed", new ArrayList<>(load.failed));
        }
        return answer;
    }
}
