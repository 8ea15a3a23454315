package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

var producers sync.Map

func startProducer(o options) (fields, error) {
	made, err := rocketmq.NewProducer(
		producer.WithGroupName(o["group"]),
		producer.WithInstanceName(o["name"]),
		producer.WithNameServer(o.names()),
		producer.WithRetry(o.number("retries", 2)),
		producer.WithSendMsgTimeout(10*time.Second),
		producer.WithDefaultTopicQueueNums(o.number("queues", 4)),
	)
	if err != nil {
		return nil, err
	}
	if err := made.Start(); err != nil {
		return nil, err
	}
	producers.Store(o["name"], made)
	return nil, nil
}

func stopProducer(o options) (fields, error) {
	found, ok := producers.LoadAndDelete(o["name"])
	if !ok {
		return nil, stopTransactional(o)
	}
	return nil, found.(rocketmq.Producer).Shutdown()
}

func message(o options, body string) *primitive.Message {
	text := body
	if size := o.number("size", 0); size > len(text) {
		text += "|" + strings.Repeat("x", size-len(text)-1)
	}
	made := primitive.NewMessage(o["topic"], []byte(text))
	if tags := o["tags"]; tags != "" {
		made.WithTag(tags)
	}
	if keys := o["keys"]; keys != "" {
		made.WithKeys(strings.Fields(strings.ReplaceAll(keys, "{}", body)))
	}
	for key, value := range o {
		if name, is := strings.CutPrefix(key, "p."); is {
			made.WithProperty(name, value)
		}
	}
	return made
}

func record(body string, result *primitive.SendResult, err error) fields {
	if err != nil {
		return fields{"body": body, "status": "FAILED", "error": err.Error()}
	}
	status := "SEND_OK"
	if result.Status != primitive.SendOK {
		status = fmt.Sprint("STATUS_", result.Status)
	}
	sent := fields{
		"body": body, "status": status, "msgId": result.MsgID, "offsetMsgId": result.OffsetMsgID,
		"offset": result.QueueOffset,
	}
	if result.MessageQueue != nil {
		sent["broker"] = result.MessageQueue.BrokerName
		sent["queue"] = result.MessageQueue.QueueId
	}
	return sent
}

func send(o options) (fields, error) {
	found, ok := producers.Load(o["name"])
	if !ok {
		return nil, errors.New("no producer " + o["name"])
	}
	client := found.(rocketmq.Producer)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	from, count := o.number("from", 0), o.number("count", 1)
	var bodies []string
	for i := from; i < from+count; i++ {
		bodies = append(bodies, fmt.Sprint(o.text("body", "m"), i))
	}
	results := []fields{}
	switch o.text("mode", "sync") {
	case "sync":
		for _, body := range bodies {
			result, err := client.SendSync(ctx, message(o, body))
			results = append(results, record(body, result, err))
		}
	case "oneway":
		for _, body := range bodies {
			if err := client.SendOneWay(ctx, message(o, body)); err != nil {
				return nil, err
			}
		}
	case "batch":
		var batch []*primitive.Message
		for _, body := range bodies {
			batch = append(batch, message(o, body))
		}
		result, err := client.SendSync(ctx, batch...)
		results = append(results, record(strings.Join(bodies, ","), result, err))
	case "async":
		var all sync.WaitGroup
		var guard sync.Mutex
		for _, body := range bodies {
			body := body
			all.Add(1)
			err := client.SendAsync(ctx, func(_ context.Context, result *primitive.SendResult, err error) {
				guard.Lock()
				results = append(results, record(body, result, err))
				guard.Unlock()
				all.Done()
			}, message(o, body))
			if err != nil {
				return nil, err
			}
		}
		all.Wait()
	default:
		return nil, errors.New("mode " + o["mode"])
	}
	return fields{"results": results}, nil
}
