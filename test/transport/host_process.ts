import { startHost } from './support.js';

/** Host 2 in a process of its own: `host_process.ts INCARNATION`. Tells its parent the address, and ends with it. */
const { address } = await startHost({ hostId: 2, incarnation: Number(process.argv[2]) });
process.on('disconnect', () => process.exit());
process.send?.(address);
