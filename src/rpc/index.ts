/**
 * Calls from one process to another.
 *
 *   src/client, store (to placement), placement (to its other members)
 *        │  Dial: address ─▶ RpcChannel (connected, unary, serverStream, duplex)
 *        ▼
 *   grpc_channel.ts          the simulator's network (test/support/memory_rpc.ts)
 *
 * Clients' operations need but one stream of frames to each store (StreamDial): over TCP (src/transport/frame_channel.ts) or gRPC.
 *
 * Invariants: `connected` tells apart what was never sent; a unary call rejects with RpcError only; a stream's `closed` comes
 * at most once, never after cancel() and never from within a call on the stream; write() returning false is to be honoured.
 *
 * The Raft traffic between stores does not go this way: src/transport.
 *
 * Missing: TLS.
 */
export type {
  Dial,
  RpcChannel,
  RpcFailure,
  RpcMethod,
  RpcStream,
  StreamChannel,
  StreamDial,
  StreamHandlers,
  UnaryOptions,
} from './channel.js';
export { RpcError } from './channel.js';
export { dialGrpc } from './grpc_channel.js';
