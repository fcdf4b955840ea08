//! The example programs run to their end.

#[path = "../examples/folder.rs"]
mod folder;

#[test]
fn a_folder_of_pictures_is_read() {
    folder::main().unwrap();
}
