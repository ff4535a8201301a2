package main

import (
	"context"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"time"
	"unicode"

	"openbank/benchmark"
	"openbank/fleet"
)

// contestants are the handlers that flags name, or the usual one.
func (c *common) contestants(s *session, given bool) ([]benchmark.Contestant, error) {
	if len(c.Handler) == 0 {
		if given {
			return []benchmark.Contestant{{Name: "the handler that runs"}}, nil
		}
		path, err := fleet.Find("")
		if err != nil {
			return nil, err
		}
		return []benchmark.Contestant{{Name: "command-handler", Text: "command-handler", Version: versionOf(s.ctx, path), Command: &fleet.Command{Name: "command-handler", Path: path}}}, nil
	}
	var all []benchmark.Contestant
	names := map[string]bool{}
	for _, text := range c.Handler {
		name, command, err := parseHandler(text)
		if err != nil {
			return nil, fmt.Errorf("--handler: %w", err)
		}
		if names[name] {
			return nil, fmt.Errorf("--handler: there are two with the name %s", name)
		}
		names[name] = true
		if command.Path, err = exec.LookPath(command.Path); err != nil {
			return nil, fmt.Errorf("--handler %s: %w", name, err)
		}
		_, line, _ := strings.Cut(text, "=")
		all = append(all, benchmark.Contestant{Name: name, Text: withoutSecrets([]string{line})[0], Version: versionOf(s.ctx, command.Path), Command: &command})
	}
	return all, nil
}

// parseHandler reads NAME=COMMAND: words as a shell has them, quotes included, the first ones of them NAME=value for the
// environment, and nothing else that a shell does.
func parseHandler(text string) (name string, command fleet.Command, err error) {
	name, line, found := strings.Cut(text, "=")
	if !found || name == "" || strings.ContainsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || r == '/' }) {
		return "", command, fmt.Errorf("%q is not NAME=COMMAND, such as 'ours=bin/command-handler --max-batch 1000'", text)
	}
	words, err := split(line)
	if err != nil {
		return "", command, fmt.Errorf("%q: %w", text, err)
	}
	for len(words) > 0 && variable.MatchString(words[0]) {
		command.Environment = append(command.Environment, words[0])
		words = words[1:]
	}
	if len(words) == 0 {
		return "", command, fmt.Errorf("%q names no program", text)
	}
	command.Name, command.Path, command.Args = name, words[0], words[1:]
	return name, command, nil
}

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)

func split(line string) (words []string, err error) {
	var word strings.Builder
	quote, inWord := rune(0), false
	for _, r := range line {
		switch {
		case quote != 0:
			if r == quote {
				quote = 0
			} else {
				word.WriteRune(r)
			}
		case r == '\'' || r == '"':
			quote, inWord = r, true
		case unicode.IsSpace(r):
			if inWord {
				words = append(words, word.String())
				word.Reset()
			}
			inWord = false
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("the quote %c has no end", quote)
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}

// versionOf is what a command-handler of this project says it is; other programs may take --version for something else.
func versionOf(ctx context.Context, path string) string {
	if filepath.Base(path) != "command-handler" {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

func toolVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

var secrets = []*regexp.Regexp{
	regexp.MustCompile(`(://[^:/@\s]*:)[^@\s]*(@)`),
	regexp.MustCompile(`(?i)(password[= ])[^\s]+()`),
}

// withoutSecrets masks the passwords in arguments.
func withoutSecrets(args []string) []string {
	masked := make([]string, len(args))
	for i, arg := range args {
		for _, secret := range secrets {
			arg = secret.ReplaceAllString(arg, "${1}xxxxx${2}")
		}
		if i > 0 && strings.HasPrefix(args[i-1], "--") && strings.HasSuffix(args[i-1], "password") {
			arg = "xxxxx"
		}
		masked[i] = arg
	}
	return masked
}

// configuration is the scenario's settings for the result.
func (c *common) configuration(settings map[string]string) map[string]string {
	all := map[string]string{
		"surroundings": c.Surroundings, "rounds": fmt.Sprint(c.Rounds), "warm-up-rounds": fmt.Sprint(*c.WarmUpRounds), "accounts": fmt.Sprint(c.Accounts), "rejected": fmt.Sprint(c.Rejected),
		"patience": time.Duration(c.Patience).String(), "beside": strings.Join(c.Beside, ","), "max-batch": fmt.Sprint(c.MaxBatch),
		"scale": fmt.Sprint(c.Scale), "clients": fmt.Sprint(c.Clients), "store-time": time.Duration(c.StoreTime).String(), "sample-every": time.Duration(c.SampleEvery).String(),
	}
	maps.Copy(all, settings)
	return all
}
