package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// transactional is a producer of transactions, what it decides and answers, and what it was asked.
type transactional struct {
	client rocketmq.TransactionProducer
	guard  sync.Mutex
	decide primitive.LocalTransactionState
	answer primitive.LocalTransactionState
	checks []fields
}

var transactionals sync.Map

func (t *transactional) ExecuteLocalTransaction(*primitive.Message) primitive.LocalTransactionState {
	t.guard.Lock()
	defer t.guard.Unlock()
	return t.decide
}

func (t *transactional) CheckLocalTransaction(message *primitive.MessageExt) primitive.LocalTransactionState {
	t.guard.Lock()
	defer t.guard.Unlock()
	record := received(message)
	record["transactionId"] = message.TransactionId
	t.checks = append(t.checks, record)
	return t.answer
}

func decision(name string) (primitive.LocalTransactionState, error) {
	switch name {
	case "commit":
		return primitive.CommitMessageState, nil
	case "rollback":
		return primitive.RollbackMessageState, nil
	case "unknown":
		return primitive.UnknowState, nil
	}
	return primitive.UnknowState, errors.New("decision " + name)
}

func startTransactional(o options) (fields, error) {
	answer, err := decision(o.text("answer", "unknown"))
	if err != nil {
		return nil, err
	}
	made := &transactional{answer: answer}
	made.client, err = rocketmq.NewTransactionProducer(
		made,
		producer.WithGroupName(o["group"]),
		producer.WithInstanceName(o["name"]),
		producer.WithNameServer(o.names()),
		producer.WithSendMsgTimeout(10*time.Second),
	)
	if err != nil {
		return nil, err
	}
	if err := made.client.Start(); err != nil {
		return nil, err
	}
	transactionals.Store(o["name"], made)
	return nil, nil
}

func theTransactional(o options) (*transactional, error) {
	if found, ok := transactionals.Load(o["name"]); ok {
		return found.(*transactional), nil
	}
	return nil, errors.New("no producer of transactions " + o["name"])
}

func sendTransactional(o options) (fields, error) {
	sender, err := theTransactional(o)
	if err != nil {
		return nil, err
	}
	decide, err := decision(o["decide"])
	if err != nil {
		return nil, err
	}
	sender.guard.Lock()
	sender.decide = decide
	sender.guard.Unlock()
	results := []fields{}
	from := o.number("from", 0)
	for number := from; number < from+o.number("count", 1); number++ {
		body := o.text("body", "m") + strconv.Itoa(number)
		result, err := sender.client.SendMessageInTransaction(context.Background(), message(o, body))
		if err != nil {
			results = append(results, record(body, nil, err))
			continue
		}
		sent := record(body, result.SendResult, nil)
		sent["transactionId"] = result.TransactionID
		results = append(results, sent)
	}
	return fields{"results": results}, nil
}

func answerTransactional(o options) (fields, error) {
	sender, err := theTransactional(o)
	if err != nil {
		return nil, err
	}
	answer, err := decision(o["answer"])
	if err != nil {
		return nil, err
	}
	sender.guard.Lock()
	defer sender.guard.Unlock()
	sender.answer = answer
	return nil, nil
}

func checksOfTransactional(o options) (fields, error) {
	sender, err := theTransactional(o)
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(time.Duration(o.number("timeout", 60000)) * time.Millisecond)
	for {
		sender.guard.Lock()
		checks := append([]fields{}, sender.checks...)
		sender.guard.Unlock()
		complete := len(checks) >= o.number("count", 0)
		if complete || time.Now().After(deadline) {
			return fields{"complete": complete, "messages": checks}, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func stopTransactional(o options) error {
	found, ok := transactionals.LoadAndDelete(o["name"])
	if !ok {
		return fmt.Errorf("no producer %s", o["name"])
	}
	return found.(*transactional).client.Shutdown()
}
