package main

import (
	"context"
	"time"

	"github.com/apache/rocketmq-client-go/v2/admin"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

// withAdmin runs work with an admin client that lives only as long.
func withAdmin(o options, work func(context.Context, admin.Admin) (fields, error)) (fields, error) {
	client, err := admin.NewAdmin(admin.WithResolver(primitive.NewPassthroughResolver(o.names())))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return work(ctx, client)
}

func createTopic(o options) (fields, error) {
	return withAdmin(o, func(ctx context.Context, client admin.Admin) (fields, error) {
		return nil, client.CreateTopic(ctx, admin.WithTopicCreate(o["topic"]), admin.WithBrokerAddrCreate(o["addr"]),
			admin.WithReadQueueNums(o.number("queues", 4)), admin.WithWriteQueueNums(o.number("queues", 4)))
	})
}

func deleteTopic(o options) (fields, error) {
	return withAdmin(o, func(ctx context.Context, client admin.Admin) (fields, error) {
		return nil, client.DeleteTopic(ctx, admin.WithTopicDelete(o["topic"]), admin.WithBrokerAddrDelete(o["addr"]))
	})
}

func listTopics(o options) (fields, error) {
	return withAdmin(o, func(ctx context.Context, client admin.Admin) (fields, error) {
		list, err := client.FetchAllTopicList(ctx)
		if err != nil {
			return nil, err
		}
		return fields{"topics": list.TopicList}, nil
	})
}
