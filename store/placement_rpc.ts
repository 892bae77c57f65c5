import type { StoreSessionRequest, StoreSessionResponse } from '../src/gen/skerry/v1/placement.js';
import { PlacementService } from '../src/gen/skerry/v1/placement.js';
import type { Dial, RpcChannel } from '../src/rpc/channel.js';
import type { PlacementConnector, SessionHandlers, SessionLine } from './placement_connector.js';

/** Placement members, one channel per address. */
export class RpcPlacementConnector implements PlacementConnector {
  private readonly channels = new Map<string, RpcChannel>();
  private readonly dial: Dial;

  constructor(dial: Dial) {
    this.dial = dial;
  }

  bootstrap: PlacementConnector['bootstrap'] = (address, timeoutMs) =>
    this.channel(address).unary(PlacementService.bootstrap, {}, { timeoutMs });

  registerStore: PlacementConnector['registerStore'] = (address, request, timeoutMs) =>
    this.channel(address).unary(PlacementService.registerStore, request, { timeoutMs });

  getShardById: PlacementConnector['getShardById'] = (address, request, timeoutMs) =>
    this.channel(address).unary(PlacementService.getShardById, request, { timeoutMs });

  openSession(address: string, handlers: SessionHandlers): SessionLine {
    let open = true;
    const closed = (reason: string): void => {
      if (!open) return;
      open = false;
      handlers.closed(reason);
    };
    const stream = this.channel(address).duplex<StoreSessionRequest, StoreSessionResponse>(
      PlacementService.storeSession,
      { frame: (response) => handlers.frame(response), closed },
    );
    return {
      send: (request) => {
        if (open) stream.write(request);
      },
      close: () => {
        stream.cancel();
        closed('closed');
      },
    };
  }

  close(): void {
    for (const channel of this.channels.values()) channel.close();
    this.channels.clear();
  }

  private channel(address: string): RpcChannel {
    let channel = this.channels.get(address);
    if (channel === undefined) {
      channel = this.dial(address);
      this.channels.set(address, channel);
    }
    return channel;
  }
}
