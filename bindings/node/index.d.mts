import * as library from './index.js';
export * from './index.js';
export default library;
