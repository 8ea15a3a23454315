package driver;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.RequestCallback;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** request, responder.start, responder.replies, responder.stop: who asks and who answers. */
final class Requests {
    private static final Map<String, Responder> RESPONDERS = new ConcurrentHashMap<>();

    static {
        Driver.COMMANDS.put("request", Requests::request);
        Driver.COMMANDS.put("responder.start", Requests::start);
        Driver.COMMANDS.put("responder.replies", Requests::replies);
        Driver.COMMANDS.put("responder.stop", Requests::stop);
    }

    /** A consumer that sends a reply for each message, and what became of the replies. */
    private static final class Responder {
        DefaultMQPushConsumer consumer;
        DefaultMQProducer producer;
        final List<Object> replies = Collections.synchronizedList(new ArrayList<>());
    }

    /** Sends requests one after the other and waits for each reply. */
    private static Map<String, Object> request(Options o) throws Exception {
        DefaultMQProducer producer = Producers.named(o.get("name"));
        long timeout = o.number("timeout", 20000);
        List<Object> results = new ArrayList<>();
        for (int i = 0; i < o.number("count", 1); i++) {
            String body = o.get("body", "q") + i;
            Message question = Producers.message(o, body);
            try {
                Message reply;
                if (o.flag("async")) {
                    CompletableFuture<Message> answered = new CompletableFuture<>();
                    producer.request(question, new RequestCallback() {
                        @Override
                        public void onSuccess(Message message) {
                            // Called once when the request is sent, without a message, and once with the reply.
                            if (message != null) {
                                answered.complete(message);
                            }
                        }

                        @Override
                        public void onException(Throwable failure) {
                            answered.completeExceptionally(failure);
                        }
                    }, timeout);
                    reply = answered.get(timeout + 5000, TimeUnit.MILLISECONDS);
                } else {
                    reply = producer.request(question, timeout);
                }
                results.add(Map.of("question", body, "reply", new String(reply.getBody(), StandardCharsets.UTF_8),
                    "topic", reply.getTopic(), "properties", reply.getProperties()));
            } catch (Exception failure) {
                results.add(Records.failed(body, failure));
            }
        }
        return Map.of("results", results);
    }

    private static Map<String, Object> start(Options o) throws Exception {
        Responder responder = new Responder();
        responder.producer = new DefaultMQProducer(o.get("group") + "-replies");
        responder.producer.setNamesrvAddr(o.get("namesrv"));
        responder.producer.setInstanceName(o.get("name") + "-p");
        responder.producer.setCompressMsgBodyOverHowmuch(o.number("compress", 4096));
        responder.producer.start();
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(o.get("group"));
        consumer.setNamesrvAddr(o.get("namesrv"));
        consumer.setInstanceName(o.get("name"));
        // A rebalance at the wrong moment leaves it to the next heartbeat to tell the broker of the subscription; until then
        // pulls are refused (SUBSCRIPTION_NOT_LATEST).
        consumer.setHeartbeatBrokerInterval(2000);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.subscribe(o.get("topic"), "*");
        String more = "x".repeat(o.number("size", 0));
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt message : messages) {
                String body = "re:" + new String(message.getBody(), StandardCharsets.UTF_8) + more;
                try {
                    Message reply = MessageUtil.createReplyMessage(message, body.getBytes(StandardCharsets.UTF_8));
                    if (o.has("lost")) {
                        // As if the client that asked were gone.
                        reply.putUserProperty("none", "none");
                        reply.getProperties().put("REPLY_TO_CLIENT", o.get("lost"));
                    }
                    responder.replies.add(Records.sent(body, responder.producer.send(reply, 10000)));
                } catch (Exception failure) {
                    responder.replies.add(Records.failed(body, failure));
                }
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        responder.consumer = consumer;
        RESPONDERS.put(o.get("name"), responder);
        return Map.of();
    }

    private static Map<String, Object> replies(Options o) {
        List<Object> replies = RESPONDERS.get(o.get("name")).replies;
        synchronized (replies) {
            return Map.of("results", new ArrayList<>(replies));
        }
    }

    private static Map<String, Object> stop(Options o) {
        Responder responder = RESPONDERS.remove(o.get("name"));
        responder.consumer.shutdown();
        responder.producer.shutdown();
        return Map.of();
    }
}
