// Renders templates by Go's own text/template, over messages joined as Ollama joins them. It made go_templates.json:
//   go run go_templates.go < go_templates.json > again.json
package main

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"text/template"
)

type message struct{ Role, Content string }

type cases struct {
	Templates []string              `json:"templates"`
	Chats     [][]map[string]string `json:"chats"`
	Rendered  [][]*string           `json:"rendered"`
}

func joined(chat []map[string]string) (string, []*message) {
	var system []string
	var messages []*message
	for _, turn := range chat {
		role, content := turn["role"], turn["content"]
		if role == "system" {
			system = append(system, content)
		}
		last := len(messages) - 1
		if last >= 0 && messages[last].Role == role && role != "tool" {
			messages[last].Content += "\n\n" + content
		} else {
			messages = append(messages, &message{role, content})
		}
	}
	return strings.Join(system, "\n\n"), messages
}

func rendered(text string, chat []map[string]string) *string {
	parsed, err := template.New("").Option("missingkey=zero").Parse(text)
	if err != nil {
		return nil
	}
	system, messages := joined(chat)
	data := map[string]any{"System": system, "Messages": messages, "Response": ""}
	var out bytes.Buffer
	if parsed.Execute(&out, data) != nil {
		return nil
	}
	result := out.String()
	return &result
}

func main() {
	var all cases
	if err := json.NewDecoder(os.Stdin).Decode(&all); err != nil {
		panic(err)
	}
	all.Rendered = nil
	for _, text := range all.Templates {
		var row []*string
		for _, chat := range all.Chats {
			row = append(row, rendered(text, chat))
		}
		all.Rendered = append(all.Rendered, row)
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	encoder.Encode(all)
}
