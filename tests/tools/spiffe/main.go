// Command judge says what SPIFFE's own library thinks of identities and of certificates.
//
// It reads one JSON object a line and answers with one: what tests compare our own reading with.
package main

import (
	"bufio"
	"encoding/json"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// question has either an identity (as bytes, for texts that JSON cannot carry) or a certificate.
type question struct {
	ID          []byte `json:"id"`
	Chain       []byte `json:"chain"` // PEM, leaf first
	Key         []byte `json:"key"`   // PEM
	Roots       []byte `json:"roots"` // PEM
	TrustDomain string `json:"trust_domain"`
	Now         int64  `json:"now"` // seconds since the epoch
}

type verdict struct {
	TrustDomain string `json:"trust_domain"`
	Path        string `json:"path"`
	Error       string `json:"error"`
}

func judge(asked question) (spiffeid.ID, error) {
	if asked.Chain == nil {
		return spiffeid.FromString(string(asked.ID))
	}
	svid, err := x509svid.Parse(asked.Chain, asked.Key)
	if err != nil {
		return spiffeid.ID{}, err
	}
	domain, err := spiffeid.TrustDomainFromString(asked.TrustDomain)
	if err != nil {
		return spiffeid.ID{}, err
	}
	bundle, err := x509bundle.Parse(domain, asked.Roots)
	if err != nil {
		return spiffeid.ID{}, err
	}
	id, _, err := x509svid.Verify(svid.Certificates, bundle, x509svid.WithTime(time.Unix(asked.Now, 0)))
	return id, err
}

func main() {
	lines := bufio.NewReader(os.Stdin)
	answers := json.NewEncoder(os.Stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var asked question
		if err := json.Unmarshal(line, &asked); err != nil {
			panic(err)
		}
		id, err := judge(asked)
		said := verdict{TrustDomain: id.TrustDomain().Name(), Path: id.Path()}
		if err != nil {
			said = verdict{Error: err.Error()}
		}
		if err := answers.Encode(said); err != nil {
			panic(err)
		}
	}
}
