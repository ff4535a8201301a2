package audit

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// reasonReused is the reason that makes a readable command a dead letter.
const reasonReused = "id reused with other content"

// source names a record on a command topic, of the present topic of that name or a former one.
type source struct {
	place Place
	at    Time
}

// checkLetters pairs deliveries with dead letters and files the deliveries into histories.
func (c *checker) checkLetters() {
	letters := c.lettersBySource()
	for i := range c.evidence.Deliveries {
		delivery := &c.evidence.Deliveries[i]
		at := source{delivery.Place, delivery.Time}
		letter := letters[at]
		delete(letters, at)
		if letter != nil {
			c.checkLetter(delivery, letter)
		}
		key, isCommand := delivery.command()
		switch {
		case isCommand && letter == nil:
			h := c.history(key)
			h.deliveries = append(h.deliveries, delivery)
		case isCommand:
			c.bury(key, delivery, letter)
		case letter == nil && c.scope.mayLackLetter(delivery.Place, delivery.Time):
			c.report.Unchecked.Letters++
		case letter == nil && !c.scope.due(delivery.Place):
			c.report.Unchecked.UnderWay++
		case letter == nil && c.owes(delivery):
			c.report.violate(DeadLettered, about{place: delivery.Place}, "it can't be handled (%s) and has no dead letter", delivery.Unreadable)
		}
	}
	for at, letter := range letters {
		if c.scope.Former[at.place.Topic] || c.scope.deleted(at.place) {
			c.report.Unchecked.Sources++
			continue
		}
		c.report.violate(DeadLettered, about{place: letter.Place}, "there is no record at %s of that time, which it says it was", at.place)
	}
}

func (c *checker) lettersBySource() map[source]*Letter {
	letters := map[source]*Letter{}
	for i := range c.evidence.Letters {
		letter := &c.evidence.Letters[i]
		if letter.Replayed {
			c.report.Replayed++
		}
		at := source{letter.Source, letter.SourceTime}
		first, again := letters[at]
		switch {
		case letter.Source.Topic == "":
			c.report.violate(DeadLettered, about{place: letter.Place}, "its headers don't tell which record it was")
		case DeadLetter(letter.Source.Topic) != letter.Place.Topic:
			c.report.violate(DeadLettered, about{place: letter.Place}, "it says that it was a record of %s, whose dead letters don't belong here", letter.Source.Topic)
		case !again:
			letters[at] = letter
		case first.Body != letter.Body || first.Reason != letter.Reason:
			c.report.violate(DeadLettered, about{place: letter.Place}, "another dead letter of %s, at %s, differs from it", letter.Source, first.Place)
		default:
			c.repeat(1, about{place: letter.Source}, "its dead letter")
		}
	}
	c.report.DeadLetters = len(letters)
	return letters
}

// bury files a command that is a dead letter: its id was used before with other content, or something that was mended since kept the
// handler from reading or storing it.
func (c *checker) bury(key Key, d *Delivery, letter *Letter) {
	h := c.history(key)
	switch {
	case letter.Reason == reasonReused && key.Kind == Transfer:
		h.buried().reused = append(h.buried().reused, d)
	case letter.Replayed, letter.Reason == fmt.Sprintf("schema id %d is unknown to the registry", d.Schema):
		h.buried().refused++
		h.buried().mended = append(h.buried().mended, d)
		c.report.Mended++
	default:
		h.buried().refused++
		c.report.violate(DeadLettered, about{place: d.Place}, "it is a command that can be handled, and is a dead letter with the reason %q", letter.Reason)
	}
}

func (c *checker) checkLetter(d *Delivery, letter *Letter) {
	subject := about{place: letter.Place}
	differs := func(what string) {
		c.report.violate(DeadLettered, subject, "its %s not those of %s", what, d.Place)
	}
	if letter.Cut { // too large to be sent on as a whole
		if !strings.HasPrefix(letter.SHA256, hex.EncodeToString(d.Body.Value[:])) || d.Body.Length != letter.Length || letter.Body.Length > letter.Length {
			differs("hash or length are")
		}
	} else {
		if d.Body.Value != letter.Body.Value || d.Body.Length != letter.Body.Length {
			differs("bytes are")
		}
		if d.Body.Key != letter.Body.Key {
			differs("key's bytes are")
		}
		if d.Body.Headers != letter.Body.Headers {
			differs("headers are")
		}
	}
	if letter.Reason == "" {
		c.report.violate(DeadLettered, subject, "it gives no reason")
	}
}

// checkContents sees to it that a transfer's id stands for one content, and that the others, and only they, are dead letters.
func (c *checker) checkContents(key Key, h *history) {
	if key.Kind != Transfer || len(h.deliveries) == 0 {
		return
	}
	content, known := h.deliveries[0].Transfer.Fingerprint(), false
	if h.outcome != nil && h.outcome.Seq == 0 && !h.outcome.HasFingerprint {
		return // an earlier handler's, which says nothing of the content: each gets its answer
	}
	if h.outcome != nil && h.outcome.HasFingerprint {
		content, known = h.outcome.Fingerprint, true
	}
	subject := about{key: key}
	handled := h.deliveries[:0:0]
	for _, delivery := range h.deliveries {
		switch {
		case delivery.Transfer.Fingerprint() == content:
			handled = append(handled, delivery)
		case c.scope.mayLackLetter(delivery.Place, delivery.Time):
			c.report.Unchecked.Letters++
		case !c.scope.due(delivery.Place):
			c.report.Unchecked.UnderWay++
		default:
			c.report.violate(DeadLettered, subject, "its id came with other content at %s, and that is no dead letter", delivery.Place)
			handled = append(handled, delivery)
		}
	}
	if known && !contains(handled, content) && !c.scope.mayLack(c.topics.command(key.Kind), 0) && !h.outcome.Former {
		c.report.violate(OneOutcome, subject, "the fingerprint in its row is of another content than was ever sent")
	}
	h.deliveries = handled
	for _, delivery := range h.letters.reused {
		if delivery.Transfer.Fingerprint() == content {
			c.report.violate(DeadLettered, subject, "the dead letter of %s says that the id was reused, but the content is the same", delivery.Place)
		}
	}
}

func contains(deliveries []*Delivery, content [8]byte) bool {
	for _, d := range deliveries {
		if d.Transfer.Fingerprint() == content {
			return true
		}
	}
	return false
}
