package topology

import (
	"testing"

	"pgregory.net/rapid"
)

// Whatever the assignment before: as many replicas as wanted, none twice, all on brokers that are there, the preferred one kept,
// and nothing moved that need not be.
func TestReplicasAreChosenWithoutMovingMoreThanNeeded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		brokers := rapid.IntRange(1, 7).Draw(t, "brokers")
		plan := &Plan{}
		for id := range brokers {
			plan.brokers = append(plan.brokers, node{int32(id), rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "rack")})
		}
		before := map[int32][]int32{}
		for number := range rapid.IntRange(1, 12).Draw(t, "partitions") {
			ids := rapid.Permutation(ids(brokers)).Draw(t, "ids")
			before[int32(number)] = ids[:rapid.IntRange(1, brokers).Draw(t, "replicas")]
		}
		topic := &Topic{Replicas: Replicas{Count: int16(rapid.IntRange(1, brokers).Draw(t, "wanted"))}}
		chosen := plan.assign(topic, before)
		for number, old := range before {
			now, moved := chosen[number]
			want := int(topic.Replicas.Count)
			if moved != (len(old) != want) {
				t.Fatalf("partition %d with %v: moved %v", number, old, moved)
			}
			if !moved {
				continue
			}
			seen := map[int32]bool{}
			for _, id := range now {
				if seen[id] || int(id) >= brokers {
					t.Fatalf("%v became %v", old, now)
				}
				seen[id] = true
			}
			if len(now) != want || now[0] != old[0] {
				t.Fatalf("%v became %v", old, now)
			}
			for i := range min(len(old), len(now)) {
				if old[i] != now[i] {
					t.Fatalf("%v became %v", old, now)
				}
			}
		}
	})
}

func ids(count int) []int32 {
	all := make([]int32, count)
	for i := range all {
		all[i] = int32(i)
	}
	return all
}

func TestNewReplicasGoToRacksWithoutOneAndAreSpread(t *testing.T) {
	t.Parallel()
	plan := &Plan{brokers: []node{{1, "a"}, {2, "a"}, {3, "b"}, {4, "b"}}}
	before := map[int32][]int32{0: {1}, 1: {2}, 2: {3}, 3: {4}}
	racks := map[int32]string{1: "a", 2: "a", 3: "b", 4: "b"}
	load := map[int32]int{}
	for number, now := range plan.assign(&Topic{Replicas: Replicas{Count: 2}}, before) {
		if racks[now[0]] == racks[now[1]] {
			t.Errorf("partition %d: %v in one rack", number, now)
		}
		load[now[0]]++
		load[now[1]]++
	}
	for id, n := range load {
		if n != 2 {
			t.Errorf("broker %d has %d replicas", id, n)
		}
	}
}

func TestACappedNumberIsNeverLowered(t *testing.T) {
	t.Parallel()
	one := &Plan{brokers: []node{{id: 1}}}
	capped := &Topic{Replicas: Replicas{Count: 3, Capped: true}}
	if one.wrongReplicas(capped, 3) || one.wrongReplicas(capped, 1) {
		t.Error("a broker that is away costs a replica")
	}
	three := &Plan{brokers: []node{{id: 1}, {id: 2}, {id: 3}}}
	if !three.wrongReplicas(capped, 1) || three.wrongReplicas(capped, 5) {
		t.Error("replicas do not follow the brokers")
	}
}
