// Command go-driver holds Apache RocketMQ's Go clients and does what the test says on standard input.
//
// Request: ID TAB COMMAND TAB key=value TAB … on one line, with %XX escapes in values. Answer: one JSON line
// {"id":ID,"ok":true,…} or {"id":ID,"ok":false,"error":…}. Requests run side by side. End of input ends the process.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/apache/rocketmq-client-go/v2/rlog"
)

// fields is what a command adds to its answer.
type fields map[string]any

// options of one request.
type options map[string]string

func (o options) number(key string, otherwise int) int {
	if text, ok := o[key]; ok {
		if value, err := strconv.Atoi(text); err == nil {
			return value
		}
	}
	return otherwise
}

func (o options) text(key, otherwise string) string {
	if value, ok := o[key]; ok {
		return value
	}
	return otherwise
}

func (o options) names() []string {
	return strings.Split(o["namesrv"], ";")
}

var commands = map[string]func(options) (fields, error){
	"producer.start": startProducer,
	"producer.stop":  stopProducer,
	"send":           send,
	"tx.start":       startTransactional,
	"tx.send":        sendTransactional,
	"tx.answer":      answerTransactional,
	"tx.checks":      checksOfTransactional,
	"push.start":     startPush,
	"push.await":     awaitPush,
	"push.stop":      stopPush,
	"pull.start":     startPull,
	"pull.poll":      pollPull,
	"pull.fetch":     fetchPull,
	"pull.stop":      stopPull,
	"admin.create":   createTopic,
	"admin.delete":   deleteTopic,
	"admin.topics":   listTopics,
}

var output sync.Mutex

func answer(id string, ok bool, more fields) {
	all := fields{"ok": ok}
	for key, value := range more {
		all[key] = value
	}
	number, _ := strconv.ParseUint(id, 10, 64)
	all["id"] = number
	line, err := json.Marshal(all)
	if err != nil {
		line = []byte(fmt.Sprintf(`{"id":%d,"ok":false,"error":%q}`, number, err.Error()))
	}
	output.Lock()
	defer output.Unlock()
	os.Stdout.Write(append(line, '\n'))
}

func handle(line string) {
	parts := strings.Split(line, "\t")
	id := parts[0]
	defer func() {
		if failure := recover(); failure != nil {
			answer(id, false, fields{"error": fmt.Sprint("panic: ", failure)})
		}
	}()
	command, known := commands[parts[1]]
	if !known {
		answer(id, false, fields{"error": "no command " + parts[1]})
		return
	}
	o := options{}
	for _, part := range parts[2:] {
		key, value, _ := strings.Cut(part, "=")
		plain, err := url.PathUnescape(value)
		if err != nil {
			answer(id, false, fields{"error": err.Error()})
			return
		}
		o[key] = plain
	}
	more, err := command(o)
	if err != nil {
		answer(id, false, fields{"error": err.Error()})
		return
	}
	answer(id, true, more)
}

func main() {
	rlog.SetLogLevel("warn")
	answer("0", true, fields{"ready": true})
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(make([]byte, 64*1024), 16*1024*1024)
	for lines.Scan() {
		go handle(lines.Text())
	}
}
