import { startGrpcServer } from '../../src/transport/grpc_server.js';
import { answererId, newTransport, unheard } from './peer_frames_host.js';

/** The process that answers each frame with an empty one. */
const transport = newTransport(answererId);
const server = await startGrpcServer({
  address: '127.0.0.1:0',
  services: [],
  serviceNames: [],
  acceptFrames: transport.acceptor(),
});
const empty = Buffer.alloc(0);
await transport.start({
  ...unheard,
  forward: (from, id) => {
    transport.sendForwardResponse(from, id, empty);
    transport.flush();
  },
});
process.on('disconnect', () => process.exit());
process.send?.(`127.0.0.1:${server.port}`);
