// Where the checkout is, seen from a compiled test of the house (dist/properties/house).

import { fileURLToPath } from 'node:url';

export const checkout = fileURLToPath(new URL('../../..', import.meta.url));
