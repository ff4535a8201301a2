package store

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq/oid"
)

// write stores what was decided: balances by IBAN, new balances by IBAN, creations by id, transfers by id, so that two
// sessions that write the same keys wait for each other in the same order. A row that another session wrote first
// shows as a unique violation, a row that is not there any more as one too few; both mean: run the batch again.
func (t transaction) write(b *batch) error {
	for _, w := range []struct {
		what string
		stmt *sqlx.Stmt
		args func() (rows int, args []any)
	}{
		{"updating the balances", t.prepared.updateBalances, b.changedBalances},
		{"inserting the new balances", t.prepared.insertBalances, b.newBalances},
		{"inserting the account creations", t.prepared.insertCreations, b.creationRows},
		{"inserting the transfers", t.prepared.insertTransfers, b.transferRows},
	} {
		rows, args := w.args()
		if rows == 0 {
			continue
		}
		if err := t.exec(rows, w.stmt, args...); err != nil {
			return fmt.Errorf("%s: %w", w.what, err)
		}
	}
	return nil
}

// changedBalances are the arguments of updateBalancesSQL.
func (b *batch) changedBalances() (rows int, args []any) {
	n := len(b.locked)
	id, amount, version := newArray(oid.T_int4, n), newArray(oid.T_int8, n), newArray(oid.T_int8, n)
	for i := range b.locked { // in the order in which they were locked: by IBAN
		if a := &b.locked[i]; a.Version != a.before {
			id.int4(a.id)
			amount.int8(a.Balance)
			version.int8(a.Version)
		}
	}
	return int(id.n), []any{id.bytes(), amount.bytes(), version.bytes()}
}

// newBalances are the arguments of insertBalancesSQL.
func (b *batch) newBalances() (rows int, args []any) {
	made := make([]string, 0, len(b.newCreations))
	for _, c := range b.newCreations {
		if c.outcome.Reason == "" {
			made = append(made, c.outcome.IBAN)
		}
	}
	if len(made) == 0 {
		return 0, nil
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
	return n, []any{iban.bytes(), token.bytes(), kind.bytes(), amount.bytes(), limit.bytes(), version.bytes()}
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
	r.partition.int4(from.partition)
	r.offset.int8(from.offset)
}

// creationRows are the arguments of insertCreationsSQL.
func (b *batch) creationRows() (rows int, args []any) {
	if len(b.newCreations) == 0 {
		return 0, nil
	}
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
	return n, []any{
		r.id.bytes(), r.reason.bytes(), r.seq.bytes(), r.topic.bytes(), r.partition.bytes(), r.offset.bytes(),
		iban.bytes(), token.bytes(), kind.bytes(),
	}
}

// transferRows are the arguments of insertTransfersSQL.
func (b *batch) transferRows() (rows int, args []any) {
	if len(b.newTransfers) == 0 {
		return 0, nil
	}
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
	return n, []any{
		r.id.bytes(), r.reason.bytes(), r.seq.bytes(), r.topic.bytes(), r.partition.bytes(), r.offset.bytes(),
		print.bytes(), from.bytes(), to.bytes(), description.bytes(), amount.bytes(),
		fromBalance.bytes(), fromVersion.bytes(), toBalance.bytes(), toVersion.bytes(),
	}
}

// saveProgress moves partitions on, in the same order in every session.
func (t transaction) saveProgress(progress []Progress) error {
	if len(progress) == 0 {
		return nil
	}
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
	if err := t.exec(n, t.prepared.saveProgress,
		topic.bytes(), topicID.bytes(), partition.bytes(), executed.bytes(), published.bytes()); err != nil {
		return fmt.Errorf("saving the progress: %w", err)
	}
	return nil
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
