import type { Runtime } from '../base/runtime.js';
import type { StreamDial } from '../rpc/channel.js';
import { dialGrpc } from '../rpc/grpc_channel.js';
import { dialFrames } from '../transport/frame_channel.js';
import { invalidArgument } from './errors.js';

/** How operations travel to stores. */
export type StoreProtocol = 'tcp' | 'grpc';

export function storeDialOf(protocol: StoreProtocol | undefined, runtime: Runtime): StreamDial {
  switch (protocol) {
    case undefined:
    case 'tcp':
      return dialFrames(runtime);
    case 'grpc':
      return dialGrpc(runtime);
    default:
      throw invalidArgument('storeProtocol', 'UNKNOWN_VALUE', 'storeProtocol is tcp or grpc');
  }
}
