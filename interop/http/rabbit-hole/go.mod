module leveret/interop/http

go 1.24

require github.com/michaelklishin/rabbit-hole/v3 v3.5.0
