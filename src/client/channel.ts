import type { ClientOptions } from '@grpc/grpc-js';
import { Client, connectivityState, credentials } from '@grpc/grpc-js';
import { frameBytesMax } from '../base/limits.js';
import type { Runtime } from '../base/runtime.js';
import { connectTimeoutMs } from './limits.js';

/** Channel options of the client, with the reason for each. */
const channelOptions: ClientOptions = {
  'grpc.max_receive_message_length': frameBytesMax,
  'grpc.max_send_message_length': frameBytesMax,
  // Retries are the router's business: a transparent one would hide that an attempt was written.
  'grpc.enable_retries': 0,
  'grpc.service_config_disable_resolution': 1,
  // Servers are reached directly, whatever proxy the environment names for the web.
  'grpc.enable_http_proxy': 0,
  'grpc.enable_channelz': 0,
  // Without keepalive a stopped or cut off server is never noticed.
  'grpc.keepalive_time_ms': 1_000,
  'grpc.keepalive_timeout_ms': 1_000,
  'grpc.initial_reconnect_backoff_ms': 50,
  'grpc.max_reconnect_backoff_ms': 500,
  // Answers are bulk: room for many frames before the sender must wait for us.
  'grpc-node.flow_control_window': 4 * 1024 * 1024,
};

/** A gRPC client for one address. It connects when it is first used. */
export function openChannel(address: string): Client {
  return new Client(address, credentials.createInsecure(), channelOptions);
}

/**
 * Resolves to null once the channel is connected, or to the reason why it is not. Knowing that nothing was sent is the
 * difference between "try another" and "may have taken effect".
 */
export function connected(client: Client, runtime: Runtime, timeoutMs = connectTimeoutMs): Promise<string | null> {
  const channel = client.getChannel();
  const deadline = runtime.wallMs() + timeoutMs;
  return new Promise((resolve) => {
    const look = (connect: boolean): void => {
      const state = channel.getConnectivityState(connect);
      if (state === connectivityState.READY) resolve(null);
      else if (state === connectivityState.SHUTDOWN) resolve('the channel was closed');
      else if (state === connectivityState.TRANSIENT_FAILURE) resolve(`no connection to ${channel.getTarget()}`);
      else {
        channel.watchConnectivityState(state, deadline, (error) => {
          if (error === undefined) look(true);
          else resolve(`no connection to ${channel.getTarget()} within ${timeoutMs} ms`);
        });
      }
    };
    look(true);
  });
}
