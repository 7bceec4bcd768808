"""V2 over gRPC: the optional part of the server, and the only place that imports grpc and protobuf (extra `edge-grpc`)."""
