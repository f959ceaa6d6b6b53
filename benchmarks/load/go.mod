module openecr.dev/benchmarks/load

go 1.22
