package decide

import (
	"strings"
	"testing"
)

func row(known bool, lag int64) Row {
	return Row{Group: "orders", Topic: "payments", LagKnown: known, KnownLag: lag}
}

func TestTheThirdSightingInARowAsksForTheActionOnce(t *testing.T) {
	for before := range int64(4) {
		if said := Judge(row(true, 101), 100, before, ""); said.Asks != (before == 2) {
			t.Errorf("after %d sightings: %+v", before, said)
		}
	}
}

func TestWhatBecameOfTheActionIsToldOnceItWasAskedFor(t *testing.T) {
	for before, want := range map[int64]string{2: "", 3: "failed: HTTP 503"} {
		if said := Judge(row(true, 101), 100, before, Became("failed", "HTTP 503")); said.Became != want {
			t.Errorf("after %d sightings: %+v", before, said)
		}
	}
}

func TestALagThatIsNotKnownIsNeitherASightingNorItsEnd(t *testing.T) {
	if said := Judge(row(true, 100), 100, 2, ""); said.Sightings != 0 {
		t.Errorf("known: %+v", said)
	}
	if said := Judge(row(false, 100), 100, 2, ""); said.Sightings != 2 {
		t.Errorf("unknown: %+v", said)
	}
}

func TestABadConfigurationIsRefusedWithItsKey(t *testing.T) {
	_, err := ReadConfig(`{"thresholds":{"orders":-1}}`)
	if err == nil || !strings.HasPrefix(err.Error(), "config.thresholds.orders: ") {
		t.Errorf("%v", err)
	}
}
