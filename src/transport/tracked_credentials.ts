import { ChannelCredentials } from '@grpc/grpc-js';
import type { Socket } from 'node:net';

type Connector = ReturnType<ChannelCredentials['_createSecureConnector']>;

/**
 * Channel credentials that know the sockets made with them. A closed channel lets go of its sockets only once the
 * other side says goodbye, which a stopped process never does: without this, every attempt to reach one would leave a
 * socket behind.
 */
export class TrackedCredentials extends ChannelCredentials {
  private readonly inner: ChannelCredentials;
  private readonly sockets = new Set<Socket>();
  private closed = false;

  constructor(inner: ChannelCredentials) {
    super();
    this.inner = inner;
  }

  /** Destroys the sockets, and those that are still on their way. */
  close(): void {
    this.closed = true;
    for (const socket of this.sockets) socket.destroy();
  }

  override _isSecure(): boolean {
    return this.inner._isSecure();
  }

  override _equals(other: ChannelCredentials): boolean {
    return other === this;
  }

  override _createSecureConnector(...args: Parameters<ChannelCredentials['_createSecureConnector']>): Connector {
    const connector = this.inner._createSecureConnector(...args);
    return {
      connect: (socket) => {
        this.track(socket);
        return connector.connect(socket);
      },
      waitForReady: () => connector.waitForReady(),
      getCallCredentials: () => connector.getCallCredentials(),
      destroy: () => connector.destroy(),
    };
  }

  private track(socket: Socket): void {
    if (this.closed) socket.destroy();
    this.sockets.add(socket);
    socket.once('close', () => this.sockets.delete(socket));
  }
}
