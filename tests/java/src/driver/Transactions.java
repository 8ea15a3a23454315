package driver;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.client.producer.TransactionSendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** tx.start, tx.send, tx.answer, tx.checks; producer.stop ends such a producer too. */
final class Transactions {
    private static final Map<String, Transactional> PRODUCERS = new ConcurrentHashMap<>();

    static {
        Driver.COMMANDS.put("tx.start", Transactions::start);
        Driver.COMMANDS.put("tx.send", Transactions::send);
        Driver.COMMANDS.put("tx.answer", Transactions::answer);
        Driver.COMMANDS.put("tx.checks", Transactions::checks);
    }

    /** A producer, what it answers when it is asked, and what it was asked. */
    private static final class Transactional implements TransactionListener {
        final TransactionMQProducer producer;
        final List<Object> checks = new ArrayList<>();
        volatile LocalTransactionState answer;

        Transactional(TransactionMQProducer producer, LocalTransactionState answer) {
            this.producer = producer;
            this.answer = answer;
        }

        @Override
        public LocalTransactionState executeLocalTransaction(Message message, Object decision) {
            return (LocalTransactionState) decision;
        }

        @Override
        public LocalTransactionState checkLocalTransaction(MessageExt message) {
            Map<String, Object> record = Records.received(message, null);
            record.put("transactionId", message.getTransactionId());
            synchronized (checks) {
                checks.add(record);
                checks.notifyAll();
            }
            return answer;
        }
    }

    private static LocalTransactionState state(String name) {
        switch (name) {
            case "commit":
                return LocalTransactionState.COMMIT_MESSAGE;
            case "rollback":
                return LocalTransactionState.ROLLBACK_MESSAGE;
            case "unknown":
                return LocalTransactionState.UNKNOW;
            default:
                throw new IllegalArgumentException("decision " + name);
        }
    }

    private static Map<String, Object> start(Options o) throws Exception {
        TransactionMQProducer producer = new TransactionMQProducer(o.get("group"));
        Transactional transactional = new Transactional(producer, state(o.get("answer", "unknown")));
        producer.setTransactionListener(transactional);
        Producers.start(o, producer);
        PRODUCERS.put(o.get("name"), transactional);
        return Map.of();
    }

    /** Sends {@code count} half messages; {@code decide} is what becomes of each. */
    private static Map<String, Object> send(Options o) {
        Transactional transactional = PRODUCERS.get(o.get("name"));
        String prefix = o.get("body", "m");
        int from = o.number("from", 0);
        LocalTransactionState decision = state(o.get("decide"));
        List<Object> results = new ArrayList<>();
        for (int i = from; i < from + o.number("count", 1); i++) {
            String body = prefix + i;
            try {
                TransactionSendResult result =
                    transactional.producer.sendMessageInTransaction(Producers.message(o, body), decision);
                Map<String, Object> record = Records.sent(body, result);
                record.put("transactionId", result.getTransactionId());
                results.add(record);
            } catch (Exception failure) {
                results.add(Records.failed(body, failure));
            }
        }
        return Map.of("results", results);
    }

    /** From now on it answers so when it is asked. */
    private static Map<String, Object> answer(Options o) {
        PRODUCERS.get(o.get("name")).answer = state(o.get("answer"));
        return Map.of();
    }

    /** Waits until it was asked {@code count} times; what it was asked. */
    private static Map<String, Object> checks(Options o) throws Exception {
        List<Object> checks = PRODUCERS.get(o.get("name")).checks;
        long deadline = System.currentTimeMillis() + o.number("timeout", 60000);
        synchronized (checks) {
            for (long left = 1; checks.size() < o.number("count", 0) && left > 0;) {
                checks.wait(left);
                left = deadline - System.currentTimeMillis();
            }
            Map<String, Object> answer = new LinkedHashMap<>();
            answer.put("complete", checks.size() >= o.number("count", 0));
            answer.put("messages", new ArrayList<>(checks));
            return answer;
        }
    }
}
