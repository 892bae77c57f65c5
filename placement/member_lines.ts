import type { ChannelOptions, ClientReadableStream, MethodDefinition } from '@grpc/grpc-js';
import { Client, Metadata, credentials } from '@grpc/grpc-js';
import { frameBytesMax } from '../src/base/limits.js';
import type { WatchRoutesRequest, WatchRoutesResponse } from '../src/gen/skerry/v1/placement.js';
import { PlacementService } from '../src/gen/skerry/v1/placement.js';

/** One member of the placement group. */
export interface MemberAddress {
  readonly id: number;
  readonly address: string;
}

/** Marks a call that another member passed on: whoever gets it answers it or refuses it, and never passes it on again. */
export const forwardedKey = 'skerry-forwarded';

const channelOptions: ChannelOptions = {
  'grpc.max_receive_message_length': frameBytesMax,
  'grpc.max_send_message_length': frameBytesMax,
  'grpc.keepalive_time_ms': 1_000,
  'grpc.keepalive_timeout_ms': 1_000,
  'grpc.initial_reconnect_backoff_ms': 50,
  'grpc.max_reconnect_backoff_ms': 500,
  'grpc.enable_retries': 0,
  'grpc.enable_channelz': 0,
  'grpc.enable_http_proxy': 0,
  'grpc.service_config_disable_resolution': 1,
};

/** This member's lines to the other members, dialled when first needed. */
export class MemberLines {
  private readonly addresses: ReadonlyMap<number, string>;
  private readonly clients = new Map<number, Client>();

  constructor(members: readonly MemberAddress[]) {
    this.addresses = new Map(members.map((m) => [m.id, m.address]));
  }

  /** Passes a request on. Rejects with the gRPC status when the member cannot be reached in time. */
  unary<Q, A>(memberId: number, method: MethodDefinition<Q, A>, request: Q, timeoutMs: number): Promise<A> {
    const { path, requestSerialize, responseDeserialize } = method;
    const deadline = Date.now() + timeoutMs;
    return new Promise((resolve, reject) => {
      const client = this.client(memberId);
      client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        marked(),
        { deadline },
        (error, answer) => {
          if (error !== null) reject(error);
          else if (answer === undefined) reject(new Error(`member ${memberId} answered nothing`));
          else resolve(answer);
        },
      );
    });
  }

  /** Subscribes to a member's routes, which it refuses unless it leads. */
  watchRoutes(memberId: number, request: WatchRoutesRequest): ClientReadableStream<WatchRoutesResponse> {
    const { path, requestSerialize, responseDeserialize } = PlacementService.watchRoutes;
    return this.client(memberId).makeServerStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      marked(),
      {},
    );
  }

  close(): void {
    for (const client of this.clients.values()) client.close();
    this.clients.clear();
  }

  private client(memberId: number): Client {
    let client = this.clients.get(memberId);
    if (client === undefined) {
      client = new Client(this.addresses.get(memberId) ?? '', credentials.createInsecure(), channelOptions);
      this.clients.set(memberId, client);
    }
    return client;
  }
}

function marked(): Metadata {
  const metadata = new Metadata();
  metadata.set(forwardedKey, '1');
  return metadata;
}
