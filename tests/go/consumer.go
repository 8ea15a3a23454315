package main

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

// push is a consumer and everything that it was given, in order of arrival.
type push struct {
	client     rocketmq.PushConsumer
	guard      sync.Mutex
	received   []fields
	deliveries map[string]int
}

var pushes, pulls sync.Map

func received(message *primitive.MessageExt) fields {
	body, _, _ := strings.Cut(string(message.Body), "|")
	record := fields{
		"body": body, "bodyLength": len(message.Body), "topic": message.Topic, "tags": message.GetTags(),
		"keys": message.GetKeys(), "msgId": message.MsgId, "offset": message.QueueOffset,
		"physicalOffset": message.CommitLogOffset, "storeSize": message.StoreSize,
		"reconsumeTimes": message.ReconsumeTimes, "sysFlag": message.SysFlag,
		"bornTimestamp": message.BornTimestamp, "storeTimestamp": message.StoreTimestamp,
		"storeHost": message.StoreHost, "properties": message.GetProperties(), "accepted": true,
	}
	if message.Queue != nil {
		record["queue"] = message.Queue.QueueId
		record["broker"] = message.Queue.BrokerName
	}
	return record
}

func (p *push) take(messages []*primitive.MessageExt, refusals int) bool {
	p.guard.Lock()
	defer p.guard.Unlock()
	accept := true
	for _, message := range messages {
		record := received(message)
		body := record["body"].(string)
		p.deliveries[body]++
		taken := p.deliveries[body] > refusals
		record["accepted"] = taken
		accept = accept && taken
		p.received = append(p.received, record)
	}
	return accept
}

func selector(o options) consumer.MessageSelector {
	return consumer.MessageSelector{Type: consumer.TAG, Expression: o.text("sub", "*")}
}

func startPush(o options) (fields, error) {
	model := consumer.Clustering
	if o["model"] == "broadcast" {
		model = consumer.BroadCasting
	}
	orderly := o["orderly"] == "true"
	chosen := []consumer.Option{
		consumer.WithGroupName(o["group"]),
		consumer.WithInstance(o["name"]),
		consumer.WithNameServer(o.names()),
		consumer.WithConsumerModel(model),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
		consumer.WithConsumerOrder(orderly),
		consumer.WithSuspendCurrentQueueTimeMillis(20 * time.Millisecond),
	}
	if o["threads"] != "" {
		chosen = append(chosen, consumer.WithConsumeGoroutineNums(o.number("threads", 4)))
	}
	if times := o.number("maxReconsume", -1); times >= 0 {
		chosen = append(chosen, consumer.WithMaxReconsumeTimes(int32(times)))
	}
	client, err := rocketmq.NewPushConsumer(chosen...)
	if err != nil {
		return nil, err
	}
	made := &push{client: client, deliveries: map[string]int{}}
	refusals := o.number("refuse", 0)
	err = client.Subscribe(o["topic"], selector(o),
		func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
			if made.take(messages, refusals) {
				return consumer.ConsumeSuccess, nil
			}
			if orderly {
				return consumer.SuspendCurrentQueueAMoment, nil
			}
			return consumer.ConsumeRetryLater, nil
		})
	if err != nil {
		return nil, err
	}
	if err := client.Start(); err != nil {
		return nil, err
	}
	pushes.Store(o["name"], made)
	return nil, nil
}

// awaitPush waits for count different accepted bodies or that many deliveries, then for quiet ms without another.
func awaitPush(o options) (fields, error) {
	found, ok := pushes.Load(o["name"])
	if !ok {
		return nil, errors.New("no push consumer " + o["name"])
	}
	p := found.(*push)
	deadline := time.Now().Add(time.Duration(o.number("timeout", 30000)) * time.Millisecond)
	quiet := time.Duration(o.number("quiet", 0)) * time.Millisecond
	seen, since := -1, time.Now()
	for {
		p.guard.Lock()
		bodies := map[string]bool{}
		for _, record := range p.received {
			if record["accepted"] == true {
				bodies[record["body"].(string)] = true
			}
		}
		all := append([]fields{}, p.received...)
		p.guard.Unlock()
		complete := len(bodies) >= o.number("count", 0) && len(all) >= o.number("deliveries", 0)
		if len(all) != seen {
			seen, since = len(all), time.Now()
		}
		if (complete && time.Since(since) >= quiet) || (!complete && time.Now().After(deadline)) {
			return fields{"complete": complete, "messages": all}, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func stopPush(o options) (fields, error) {
	found, ok := pushes.LoadAndDelete(o["name"])
	if !ok {
		return nil, errors.New("no push consumer " + o["name"])
	}
	p := found.(*push)
	if err := p.client.Shutdown(); err != nil {
		return nil, err
	}
	p.guard.Lock()
	defer p.guard.Unlock()
	return fields{"messages": append([]fields{}, p.received...)}, nil
}

func startPull(o options) (fields, error) {
	client, err := rocketmq.NewPullConsumer(
		consumer.WithGroupName(o["group"]),
		consumer.WithInstance(o["name"]),
		consumer.WithNameServer(o.names()),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
	)
	if err != nil {
		return nil, err
	}
	if err := client.Subscribe(o["topic"], selector(o)); err != nil {
		return nil, err
	}
	if err := client.Start(); err != nil {
		return nil, err
	}
	pulls.Store(o["name"], client)
	return nil, nil
}

func puller(o options) (rocketmq.PullConsumer, error) {
	found, ok := pulls.Load(o["name"])
	if !ok {
		return nil, errors.New("no pull consumer " + o["name"])
	}
	return found.(rocketmq.PullConsumer), nil
}

// pollPull polls until count different bodies came or the time is over.
func pollPull(o options) (fields, error) {
	client, err := puller(o)
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(time.Duration(o.number("timeout", 30000)) * time.Millisecond)
	bodies, messages := map[string]bool{}, []fields{}
	for len(bodies) < o.number("count", 1) && time.Now().Before(deadline) {
		request, err := client.Poll(context.Background(), time.Second)
		if consumer.IsNoNewMsgError(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, message := range request.GetMsgList() {
			record := received(message)
			bodies[record["body"].(string)] = true
			messages = append(messages, record)
		}
		client.ACK(context.Background(), request, consumer.ConsumeSuccess)
	}
	return fields{"complete": len(bodies) >= o.number("count", 1), "messages": messages}, nil
}

func fetchPull(o options) (fields, error) {
	client, err := puller(o)
	if err != nil {
		return nil, err
	}
	queue := &primitive.MessageQueue{Topic: o["topic"], BrokerName: o["broker"], QueueId: o.number("queue", 0)}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	result, err := client.PullFrom(ctx, queue, int64(o.number("offset", 0)), o.number("max", 32))
	if err != nil {
		return nil, err
	}
	messages := []fields{}
	for _, message := range result.GetMessageExts() {
		messages = append(messages, received(message))
	}
	names := map[primitive.PullStatus]string{
		primitive.PullFound: "FOUND", primitive.PullNoNewMsg: "NO_NEW_MSG",
		primitive.PullNoMsgMatched: "NO_MATCHED_MSG", primitive.PullOffsetIllegal: "OFFSET_ILLEGAL",
	}
	return fields{
		"status": names[result.Status], "next": result.NextBeginOffset, "min": result.MinOffset,
		"max": result.MaxOffset, "messages": messages,
	}, nil
}

func stopPull(o options) (fields, error) {
	client, err := puller(o)
	if err != nil {
		return nil, err
	}
	pulls.Delete(o["name"])
	return nil, client.Shutdown()
}
