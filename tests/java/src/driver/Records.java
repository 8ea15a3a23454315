package driver;

import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** What the test sees of results and messages. */
final class Records {
    static Map<String, Object> sent(String body, SendResult result) {
        Map<String, Object> record = new LinkedHashMap<>();
        record.put("body", body);
        record.put("status", result.getSendStatus().name());
        record.put("msgId", result.getMsgId());
        record.put("offsetMsgId", result.getOffsetMsgId());
        if (result.getMessageQueue() != null) {
            record.put("broker", result.getMessageQueue().getBrokerName());
            record.put("queue", result.getMessageQueue().getQueueId());
        }
        record.put("offset", result.getQueueOffset());
        record.put("recallHandle", Reflect.optional(result, "getRecallHandle"));
        return record;
    }

    static Map<String, Object> failed(String body, Throwable failure) {
        Map<String, Object> record = new LinkedHashMap<>();
        record.put("body", body);
        record.put("status", "FAILED");
        record.put("error", text(failure));
        record.put("code", Reflect.responseCode(failure));
        return record;
    }

    /** The exception and its causes, on one line: clients wrap what a broker or socket said, without repeating it. */
    static String text(Throwable failure) {
        StringBuilder text = new StringBuilder(String.valueOf(failure));
        for (Throwable cause = failure.getCause(); cause != null; cause = cause.getCause()) {
            text.append(" Caused by: ").append(cause);
        }
        return text.toString().replaceAll("\\s*[\\r\\n]+\\s*", " ");
    }

    static Map<String, Object> received(MessageExt message, MessageQueue queue) {
        Map<String, Object> record = new LinkedHashMap<>();
        String body = new String(message.getBody(), StandardCharsets.UTF_8);
        // A long body is a tag line followed by filling: length and checksum stand for the rest.
        int end = body.indexOf('|');
        record.put("body", end < 0 ? body : body.substring(0, end));
        record.put("bodyLength", message.getBody().length);
        record.put("topic", message.getTopic());
        record.put("tags", message.getTags());
        record.put("keys", message.getKeys());
        record.put("msgId", message.getMsgId());
        record.put("queue", message.getQueueId());
        record.put("offset", message.getQueueOffset());
        record.put("physicalOffset", message.getCommitLogOffset());
        record.put("storeSize", message.getStoreSize());
        record.put("reconsumeTimes", message.getReconsumeTimes());
        record.put("sysFlag", message.getSysFlag());
        record.put("bornTimestamp", message.getBornTimestamp());
        record.put("storeTimestamp", message.getStoreTimestamp());
        record.put("storeHost", String.valueOf(message.getStoreHost()));
        record.put("properties", new LinkedHashMap<>(message.getProperties()));
        record.put("receivedAt", System.currentTimeMillis());
        if (queue != null) {
            record.put("broker", queue.getBrokerName());
        }
        return record;
    }
}
