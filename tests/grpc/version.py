"""Calls RuntimeService.Version.

Arguments: target, number of connections, calls on each, the authority to name (none or empty: what this
version of grpcio names by itself), and a grpc-timeout for the server alone to keep (none: 10 seconds, kept by
this client too). The messages go as raw bytes, so that no
generated code is needed. Prints the distinct answers in hex, or the status that came instead.
"""

import sys

import grpc


def identity(message):
    return message


def main(target, connections, calls, authority=None, patience=None):
    answers = set()
    # Otherwise channels with the same target and options share one connection.
    options = [("grpc.use_local_subchannel_pool", 1)]
    if authority:
        options.append(("grpc.default_authority", authority))
    limit = {"metadata": [("grpc-timeout", patience)]} if patience else {"timeout": 10}
    for _ in range(int(connections)):
        with grpc.insecure_channel(target, options=options) as channel:
            version = channel.unary_unary("/runtime.v1.RuntimeService/Version", identity, identity)
            absent = channel.unary_unary("/runtime.v1.RuntimeService/Absent", identity, identity)
            try:
                absent(b"", timeout=10)
                answers.add("an answer of an RPC that is absent")
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.UNIMPLEMENTED:
                    raise
            for _ in range(int(calls)):
                answers.add(version(b"\x0a\x020.", **limit).hex())
    print(" ".join(sorted(answers)))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except grpc.RpcError as error:
        sys.exit(f"{error.code()}: {error.details()}")
