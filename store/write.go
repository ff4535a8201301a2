package store

import (
	"bytes"
	"cmp"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"

	"github.com/lib/pq/oid"
)

// write stores what was decided, and how far the partitions are: creations with their new balances, then transfers with the balances
// that they changed, sorted by IBAN and by id, so that two sessions that write the same keys wait for each other in the same order. A
// row that another session wrote first shows as a unique violation, a row that is not there any more as one too few; both mean: run the
// batch again.
func (t *session) write(ctx context.Context, b *batch, progress []Progress) error {
	last := progressRows(progress)
	if len(b.newCreations) > 0 {
		now := last
		if len(b.newTransfers) > 0 { // no lane's batch has both
			now = progressRows(nil)
		}
		if err := t.put(ctx, t.writeCreations, now, b.newBalances(), b.creationRows()); err != nil {
			return fmt.Errorf("writing the account creations: %w", err)
		}
	}
	if len(b.newTransfers) > 0 || len(b.newCreations) == 0 && last.n > 0 {
		if err := t.put(ctx, t.writeTransfers, last, b.changedBalances(), b.transferRows()); err != nil {
			return fmt.Errorf("writing the transfers: %w", err)
		}
	}
	return nil
}

// arguments are a statement's: arrays of n elements, one for each column.
type arguments struct {
	n      int
	arrays []*array
}

// put runs one of the statements that write, each of whose parts must write all of its rows.
func (t *session) put(ctx context.Context, stmt driver.StmtQueryContext, progress, balances, commands arguments) (err error) {
	var args []driver.NamedValue
	for _, part := range []arguments{progress, balances, commands} {
		for _, column := range part.arrays {
			args = append(args, driver.NamedValue{Ordinal: len(args) + 1, Value: column.bytes()})
		}
	}
	result, err := stmt.QueryContext(ctx, args)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, result.Close()) }()
	var c cells
	if err := c.next(result, 3); err != nil {
		return err
	}
	for i, part := range []arguments{balances, commands, progress} {
		if c.int(i) != int64(part.n) {
			return fmt.Errorf("%d rows instead of %d: %w", c.int(i), part.n, errOvertaken)
		}
	}
	return nil
}

// changedBalances are the balances of writeTransfersSQL.
func (b *batch) changedBalances() arguments {
	n := len(b.locked)
	id, amount, version := newArray(oid.T_int4, n), newArray(oid.T_int8, n), newArray(oid.T_int8, n)
	for i := range b.locked { // in the order in which they were locked: by IBAN
		if a := &b.locked[i]; a.Version != a.before {
			id.int4(a.id)
			amount.int8(a.Balance)
			version.int8(a.Version)
		}
	}
	return arguments{int(id.n), []*array{id, amount, version}}
}

// newBalances are the balances of writeCreationsSQL.
func (b *batch) newBalances() arguments {
	made := make([]string, 0, len(b.newCreations))
	for _, c := range b.newCreations {
		if c.outcome.Reason == "" {
			made = append(made, c.outcome.IBAN)
		}
	}
	slices.Sort(made)
	n := len(made)
	iban, token, kind := newArray(oid.T_text, n), newArray(oid.T_text, n), newArray(oid.T_text, n)
	amount, limit, version := newArray(oid.T_int8, n), newArray(oid.T_int8, n), newArray(oid.T_int8, n)
	for _, name := range made {
		a := b.accounts[name] // as the commands after its creation left it
		iban.text(a.IBAN)
		token.text(a.Token)
		kind.text(string(a.Type))
		amount.int8(a.Balance)
		limit.int8(a.Limit)
		version.int8(a.Version)
	}
	return arguments{n, []*array{iban, token, kind, amount, limit, version}}
}

// rowArrays are the columns that creations and transfers have in common.
type rowArrays struct {
	id, reason, seq          *array
	topic, partition, offset *array
}

func newRowArrays(n int) rowArrays {
	return rowArrays{
		id: newArray(oid.T_uuid, n), reason: newArray(oid.T_text, n), seq: newArray(oid.T_int8, n),
		topic: newArray(oid.T_int4, n), partition: newArray(oid.T_int4, n), offset: newArray(oid.T_int8, n),
	}
}

func (r *rowArrays) add(reason string, seq int64, from origin) {
	if reason == "" {
		r.reason.null()
	} else {
		r.reason.text(reason)
	}
	r.seq.int8(seq)
	if from.topic == 0 {
		r.topic.null()
		r.partition.null()
		r.offset.null()
		return
	}
	r.topic.int4(from.topic)
	r.partition.int4(from.column())
	r.offset.int8(from.offset)
}

// creationRows are the commands of writeCreationsSQL.
func (b *batch) creationRows() arguments {
	slices.SortFunc(b.newCreations, func(x, y *creation) int { return bytes.Compare(x.id[:], y.id[:]) })
	n := len(b.newCreations)
	r := newRowArrays(n)
	iban, token, kind := newArray(oid.T_text, n), newArray(oid.T_text, n), newArray(oid.T_text, n)
	for _, c := range b.newCreations {
		r.id.uuid(c.id)
		r.add(c.outcome.Reason, c.seq, c.origin)
		iban.textOrNull(c.outcome.IBAN)
		token.textOrNull(c.outcome.Token)
		if c.outcome.Reason == "" {
			kind.text(string(c.kind))
		} else {
			kind.null()
		}
	}
	return arguments{n, []*array{r.id, r.reason, r.seq, r.topic, r.partition, r.offset, iban, token, kind}}
}

// transferRows are the commands of writeTransfersSQL.
func (b *batch) transferRows() arguments {
	slices.SortFunc(b.newTransfers, func(x, y *transfer) int { return bytes.Compare(x.id[:], y.id[:]) })
	n := len(b.newTransfers)
	r := newRowArrays(n)
	from, to, description := newArray(oid.T_text, n), newArray(oid.T_text, n), newArray(oid.T_text, n)
	print, amount := newArray(oid.T_int8, n), newArray(oid.T_int8, n)
	fromBalance, fromVersion := newArray(oid.T_int8, n), newArray(oid.T_int8, n)
	toBalance, toVersion := newArray(oid.T_int8, n), newArray(oid.T_int8, n)
	for _, c := range b.newTransfers {
		r.id.uuid(c.id)
		r.add(c.outcome.Reason, c.seq, c.origin)
		print.int8(c.print)
		if c.hasTexts {
			from.text(c.from)
			to.text(c.to)
			description.text(c.text)
		} else {
			from.null()
			to.null()
			description.null()
		}
		amount.int8(c.amount)
		if c.outcome.From.Known {
			fromBalance.int8(c.outcome.From.Balance)
			fromVersion.int8(c.outcome.From.Version)
		} else {
			fromBalance.null()
			fromVersion.null()
		}
		if c.outcome.To.Known {
			toBalance.int8(c.outcome.To.Balance)
			toVersion.int8(c.outcome.To.Version)
		} else {
			toBalance.null()
			toVersion.null()
		}
	}
	return arguments{n, []*array{
		r.id, r.reason, r.seq, r.topic, r.partition, r.offset, print, from, to, description, amount,
		fromBalance, fromVersion, toBalance, toVersion,
	}}
}

// progressRows move partitions on, in the same order in every session.
func progressRows(progress []Progress) arguments {
	sorted := merge(progress)
	n := len(sorted)
	topic, topicID, partition := newArray(oid.T_text, n), newArray(oid.T_uuid, n), newArray(oid.T_int4, n)
	executed, published := newArray(oid.T_int8, n), newArray(oid.T_int8, n)
	for _, p := range sorted {
		topic.text(p.Topic)
		topicID.uuid(p.TopicID)
		partition.int4(p.Partition)
		executed.int8(p.ExecutedTo)
		published.int8(p.PublishedTo)
	}
	return arguments{n, []*array{topic, topicID, partition, executed, published}}
}

// merge sorts progress by partition and makes one entry of several for the same one, which a single statement could
// not write.
func merge(progress []Progress) []Progress {
	sorted := slices.Clone(progress)
	slices.SortFunc(sorted, func(x, y Progress) int {
		return cmp.Or(cmp.Compare(x.Topic, y.Topic), bytes.Compare(x.TopicID[:], y.TopicID[:]), cmp.Compare(x.Partition, y.Partition))
	})
	merged := sorted[:0]
	for _, p := range sorted {
		if n := len(merged); n > 0 && merged[n-1].Topic == p.Topic && merged[n-1].TopicID == p.TopicID && merged[n-1].Partition == p.Partition {
			last := &merged[n-1]
			last.ExecutedTo = max(last.ExecutedTo, p.ExecutedTo)
			last.PublishedTo = max(last.PublishedTo, p.PublishedTo)
			continue
		}
		merged = append(merged, p)
	}
	return merged
}
