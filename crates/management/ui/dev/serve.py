#!/usr/bin/env python3
"""Serves these files from disk, and passes /api on to a broker: the management pages without building anything.

    serve.py [--port 8080] [--api 127.0.0.1:15672]

It prints the address it listens on. Port 0 means any free one.
"""

import argparse
import http.client
import mimetypes
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
PASSED_ON = {"authorization", "content-type", "x-reason", "accept"}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path.startswith("/api/"):
            self.proxy()
        else:
            self.file()

    def proxy(self):
        length = int(self.headers.get("content-length", 0))
        body = self.rfile.read(length) if length else None
        headers = {name: value for name, value in self.headers.items() if name.lower() in PASSED_ON}
        upstream = http.client.HTTPConnection(*self.server.api, timeout=60)
        try:
            upstream.request(self.command, self.path, body, headers)
            answer = upstream.getresponse()
            said = answer.status, answer.getheader("content-type", "text/plain"), answer.read()
        except OSError as error:
            said = 502, "text/plain", str(error).encode()
        finally:
            upstream.close()
        self.reply(*said)

    def file(self):
        name = self.path.split("?")[0].lstrip("/") or "index.html"
        path = (ROOT / name).resolve()
        if not path.is_relative_to(ROOT) or not path.is_file():
            self.reply(404, "text/plain", b"no such file")
            return
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        self.reply(200, kind, path.read_bytes())

    def reply(self, status, kind, body):
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.send_header("content-security-policy", POLICY)
        self.send_header("cache-control", "no-cache")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET
    do_PUT = do_POST = do_DELETE = do_OPTIONS = proxy

    def log_message(self, *arguments):
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        # A page that moves on no longer wants its answers; that is no error.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--api", default="127.0.0.1:15672", metavar="HOST:PORT")
    arguments = parser.parse_args()
    server = Server(("127.0.0.1", arguments.port), Handler)
    server.api = tuple(arguments.api.rsplit(":", 1))
    print(f"http://127.0.0.1:{server.server_port}/", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
