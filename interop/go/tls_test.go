package interop_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

// tlsBroker is where TLS is spoken, and the folder of certificates that `leveret dev-certs` made.
func tlsBroker(t *testing.T) (address, folder string) {
	t.Helper()
	port := os.Getenv("AMQPS_PORT")
	if port == "" {
		t.Skip("no AMQPS_PORT")
	}
	return net.JoinHostPort("localhost", port), os.Getenv("TLS_FOLDER")
}

func tlsConfig(t *testing.T, folder string, withCertificate bool) *tls.Config {
	t.Helper()
	authority, err := os.ReadFile(filepath.Join(folder, "ca_certificate.pem"))
	must(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	config := &tls.Config{RootCAs: roots}
	if withCertificate {
		own, err := tls.LoadX509KeyPair(filepath.Join(folder, "client_certificate.pem"), filepath.Join(folder, "client_key.pem"))
		must(t, err)
		config.Certificates = []tls.Certificate{own}
	}
	return config
}

// roundTrip sends one message to itself.
func roundTrip(t *testing.T, connection *amqp.Connection) {
	t.Helper()
	channel, err := connection.Channel()
	must(t, err)
	queue, err := channel.QueueDeclare("", false, true, true, false, nil)
	must(t, err)
	must(t, channel.Publish("", queue.Name, false, false, amqp.Publishing{Body: []byte("by TLS")}))
	deliveries, err := channel.Consume(queue.Name, "", true, false, false, false, nil)
	must(t, err)
	equal(t, string(next(t, deliveries, "a delivery").Body), "by TLS", "body")
}

func TestTLSVersions(t *testing.T) {
	address, folder := tlsBroker(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		config := tlsConfig(t, folder, false)
		config.MinVersion, config.MaxVersion = version, version
		connection, err := amqp.DialTLS("amqps://guest:guest@"+address, config)
		must(t, err)
		equal(t, connection.ConnectionState().Version, version, "version")
		roundTrip(t, connection)
		must(t, connection.Close())
	}
}

func TestTLSOldVersionsAreRefused(t *testing.T) {
	address, folder := tlsBroker(t)
	config := tlsConfig(t, folder, false)
	config.MinVersion, config.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if _, err := amqp.DialTLS("amqps://guest:guest@"+address, config); err == nil {
		t.Fatal("TLS 1.1 is spoken")
	}
}

func TestTLSExternal(t *testing.T) {
	address, folder := tlsBroker(t)
	connection, err := amqp.DialTLS_ExternalAuth("amqps://"+address, tlsConfig(t, folder, true))
	must(t, err)
	roundTrip(t, connection)
	must(t, connection.Close())
	if _, err := amqp.DialTLS_ExternalAuth("amqps://"+address, tlsConfig(t, folder, false)); err == nil {
		t.Fatal("EXTERNAL without a certificate")
	}
}
