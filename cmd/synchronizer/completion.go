package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// option is a flag as a shell completes it.
type option struct {
	name, help string
	values     []string // it takes one of these
	file       bool     // or a file or directory
	any        bool     // or anything else
}

type subcommand struct {
	name, help string
	options    []option
	arguments  []string // it takes one of these
	file       bool     // or a file
}

func (s completionCommand) run(model *kong.Application, c console) error {
	var all []subcommand
	for _, child := range model.Children {
		sub := subcommand{name: child.Name, help: brief(child.Help)}
		for _, group := range child.AllFlags(true) {
			for _, flag := range group {
				sub.options = append(sub.options, completed(flag))
			}
		}
		for _, argument := range child.Positional {
			sub.arguments = append(sub.arguments, words(argument.Enum)...)
			sub.file = sub.file || argument.Enum == ""
		}
		slices.SortFunc(sub.options, func(a, b option) int { return strings.Compare(a.name, b.name) })
		all = append(all, sub)
	}
	script := map[string]func([]subcommand) string{"bash": bash, "zsh": zsh, "fish": fish}[s.Shell](all)
	_, err := fmt.Fprint(c.out, script)
	return err
}

// words are an enum's values; words of the empty one are none.
func words(enum string) []string {
	if enum == "" {
		return nil
	}
	return strings.Split(enum, ",")
}

func completed(flag *kong.Flag) option {
	o := option{name: flag.Name, help: brief(flag.Help), values: words(flag.Enum)}
	if o.values == nil { // those that are checked by us, more leniently or with a sentence of ours
		o.values = words(flag.Tag.Get("values"))
	}
	if !flag.IsBool() && o.values == nil {
		o.file = flag.PlaceHolder == "FILE" || flag.PlaceHolder == "DIRECTORY"
		o.any = !o.file
	}
	return o
}

// brief is a help's first sentence, without what shells would take for their own.
func brief(help string) string {
	sentence, _, _ := strings.Cut(help, ". ")
	sentence, _, _ = strings.Cut(sentence, ":")
	return strings.NewReplacer("'", "", "`", "", `"`, "", "[", "(", "]", ")", "$", "", `\`, "").Replace(strings.TrimSuffix(sentence, "."))
}

func bash(all []subcommand) string {
	var text strings.Builder
	text.WriteString("# bash completion of synchronizer: source <(synchronizer completion bash)\n_synchronizer() {\n")
	text.WriteString("    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command= word i\n    COMPREPLY=()\n")
	text.WriteString("    # = is a word of its own\n    [[ $cur == = ]] && cur=\n    [[ $prev == = ]] && prev=${COMP_WORDS[COMP_CWORD-2]}\n")
	fmt.Fprintf(&text, "    for ((i = 1; i < COMP_CWORD; i++)); do\n        case ${COMP_WORDS[i]} in %s) command=${COMP_WORDS[i]}; break;; esac\n    done\n", strings.Join(names(all), "|"))
	text.WriteString("    case $command in\n")
	for _, sub := range all {
		fmt.Fprintf(&text, "    %s)\n        case $prev in\n", sub.name)
		var flags []string
		for _, o := range sub.options {
			flags = append(flags, "--"+o.name)
			switch {
			case o.values != nil:
				fmt.Fprintf(&text, "        --%s) COMPREPLY=($(compgen -W '%s' -- \"$cur\")); return;;\n", o.name, strings.Join(o.values, " "))
			case o.file:
				fmt.Fprintf(&text, "        --%s) COMPREPLY=($(compgen -f -- \"$cur\")); return;;\n", o.name)
			case o.any:
				fmt.Fprintf(&text, "        --%s) return;;\n", o.name)
			}
		}
		text.WriteString("        esac\n")
		if sub.file {
			text.WriteString("        [[ $cur != -* ]] && { COMPREPLY=($(compgen -f -- \"$cur\")); return; }\n")
		}
		fmt.Fprintf(&text, "        COMPREPLY=($(compgen -W '%s' -- \"$cur\"));;\n", strings.Join(append(flags, sub.arguments...), " "))
	}
	fmt.Fprintf(&text, "    *) COMPREPLY=($(compgen -W '%s --help --version' -- \"$cur\"));;\n    esac\n}\n", strings.Join(names(all), " "))
	text.WriteString("complete -o filenames -F _synchronizer synchronizer\n")
	return text.String()
}

func names(all []subcommand) []string {
	list := make([]string, len(all))
	for i, sub := range all {
		list[i] = sub.name
	}
	return list
}

func zsh(all []subcommand) string {
	var text strings.Builder
	text.WriteString("#compdef synchronizer\n# zsh completion of synchronizer: source <(synchronizer completion zsh), or into a file _synchronizer in $fpath\n_synchronizer() {\n")
	text.WriteString("    local line state\n    _arguments -C '1: :->command' '*:: :->rest' '--help[Show the help]' '--version[Print the version]'\n    case $state in\n    command)\n        local -a commands=(\n")
	for _, sub := range all {
		fmt.Fprintf(&text, "            '%s:%s'\n", sub.name, sub.help)
	}
	text.WriteString("        )\n        _describe command commands;;\n    rest)\n        case $line[1] in\n")
	for _, sub := range all {
		fmt.Fprintf(&text, "        %s)\n            _arguments", sub.name)
		for _, o := range sub.options {
			value := ""
			switch {
			case o.values != nil:
				value = fmt.Sprintf("=:value:(%s)", strings.Join(o.values, " "))
			case o.file:
				value = "=:file:_files"
			case o.any:
				value = "=:value: "
			}
			name, rest := o.name, value
			if value != "" {
				name, rest = o.name+"=", value[1:]
			}
			fmt.Fprintf(&text, " \\\n                '--%s[%s]%s'", name, o.help, rest)
		}
		switch {
		case sub.arguments != nil:
			fmt.Fprintf(&text, " \\\n                '1:shell:(%s)'", strings.Join(sub.arguments, " "))
		case sub.file:
			text.WriteString(" \\\n                '1:file:_files'")
		}
		text.WriteString(";;\n")
	}
	text.WriteString("        esac;;\n    esac\n}\ncompdef _synchronizer synchronizer\n")
	return text.String()
}

func fish(all []subcommand) string {
	var text strings.Builder
	text.WriteString("# fish completion of synchronizer: synchronizer completion fish | source\ncomplete -c synchronizer -f\n")
	first := "not __fish_seen_subcommand_from " + strings.Join(names(all), " ")
	for _, sub := range all {
		fmt.Fprintf(&text, "complete -c synchronizer -n '%s' -a %s -d '%s'\n", first, sub.name, sub.help)
	}
	fmt.Fprintf(&text, "complete -c synchronizer -n '%s' -l help -d 'Show the help'\ncomplete -c synchronizer -n '%s' -l version -d 'Print the version'\n", first, first)
	for _, sub := range all {
		when := "__fish_seen_subcommand_from " + sub.name
		for _, o := range sub.options {
			value := ""
			switch {
			case o.values != nil:
				value = fmt.Sprintf(" -x -a '%s'", strings.Join(o.values, " "))
			case o.file:
				value = " -r -F"
			case o.any:
				value = " -x"
			}
			fmt.Fprintf(&text, "complete -c synchronizer -n '%s' -l %s%s -d '%s'\n", when, o.name, value, o.help)
		}
		switch {
		case sub.arguments != nil:
			fmt.Fprintf(&text, "complete -c synchronizer -n '%s' -a '%s'\n", when, strings.Join(sub.arguments, " "))
		case sub.file:
			fmt.Fprintf(&text, "complete -c synchronizer -n '%s' -F\n", when)
		}
	}
	return text.String()
}
